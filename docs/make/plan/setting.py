"""What the planner's benchmark measures: budgets x axes, plans on engines, runs that were forecast."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from dotresize.compress.families.family import Axis
from dotresize.compress.record.config import CompressConfig
from dotresize.plan.budget import Budget
from dotresize.plan.settings import PlanSettings

__all__ = [
    "BUDGETS",
    "DEFAULT",
    "PARTS",
    "PROXIED",
    "QUICK",
    "ROWS",
    "SEARCHED",
    "SPEED",
    "SPEED_PLANS",
    "UNEVEN",
    "UNIFORM",
    "Amount",
    "Engine",
    "Part",
    "Setting",
    "labels_of",
    "parts_of_label",
]

Engine = Literal["vllm", "onnx"]
Part = Literal["fronts", "forecasts", "layers", "speed"]
PARTS: tuple[Part, ...] = get_args(Part)
PROXIED, SEARCHED = "plan by proxy", "plan by search"  # rows of `fronts`; the others move one axis
ALONE: tuple[Axis, ...] = ("mlp", "hidden", "layers", "kv_groups")
ROWS = (PROXIED, *ALONE, SEARCHED)
CONTEXT_TOKENS = 160  # 128 of a prompt and half of 64 that are written
SPEED = Budget(decode_speedup=2.0, context=CONTEXT_TOKENS)  # of the speed rows; twice is what nobody asks
BUDGETS = {  # what tells most comes first
    "params 0.7": Budget(params=0.7),
    "params 0.6": Budget(params=0.6),
    "decode 1.3x": Budget(decode_speedup=1.3, context=CONTEXT_TOKENS),
    "params 0.8": Budget(params=0.8),
    "decode 1.5x": Budget(decode_speedup=1.5, context=CONTEXT_TOKENS),
    "params 0.9": Budget(params=0.9),
    "decode 1.15x": Budget(decode_speedup=1.15, context=CONTEXT_TOKENS),
}
SPEED_PLANS: dict[str, dict[Axis, float]] = {  # six that differ: what is kept of an axis
    "hidden 7/8, MLP 5/8": {"hidden": 7 / 8, "mlp": 5 / 8},
    "MLP 7/12": {"mlp": 7 / 12},
    "hidden 5/8": {"hidden": 5 / 8},
    "layers 2/3": {"layers": 2 / 3},
    "hidden 7/8, MLP 13/24": {"hidden": 7 / 8, "mlp": 13 / 24},
    "groups 1/3": {"kv_groups": 1 / 3},
}
FORECASTS = ("pico, MLP", "pico, hidden and MLP", "SmolLM2, MLP")
UNIFORM, UNEVEN = "the same in all layers", "spread by the proxy"  # MLP widths of the rows of `layers`


@dataclass(frozen=True, kw_only=True)
class Amount:
    """How much is spent on a row of `fronts` or `layers`."""

    name: str
    calibration_windows: int
    evaluation_windows: int  # of each text
    effort: Literal["quick", "standard"]  # of the fits


QUICK = Amount(name="quick", calibration_windows=16, evaluation_windows=1, effort="quick")
DEFAULT = Amount(name="default", calibration_windows=32, evaluation_windows=2, effort="standard")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all rows share."""

    model: str
    calibration: tuple[str, ...]  # texts that every row is fitted on
    searched: tuple[str, ...]  # texts that a search scores candidates on
    evaluation: dict[str, str]  # kind -> text that rows are scored on, and nothing else sees
    window_tokens: int = 512
    evaluation_window_tokens: int = 1024
    seed: int = 42

    def base(self, amount: Amount) -> CompressConfig:
        """Options of every compression; its widths do not count."""
        return CompressConfig(
            mlp_width=0.5,
            calibration=self.calibration,
            calibration_windows=amount.calibration_windows,
            window_tokens=self.window_tokens,
            effort=amount.effort,
            seed=self.seed,
        )

    def widthless(self) -> CompressConfig:
        """Options for what depends on widths alone; they do not count."""
        return CompressConfig(mlp_width=0.5, calibration=self.calibration, window_tokens=self.window_tokens)

    def planning(self, budget: str, row: str, amount: Amount) -> PlanSettings:
        """How the plan for a budget is found."""
        base = self.base(amount)
        if row == SEARCHED:
            return PlanSettings(budget=BUDGETS[budget], base=base, evaluation=self.searched)
        return PlanSettings(budget=BUDGETS[budget], base=base, effort="quick")


def labels_of(part: Part, amount: Amount, engines: tuple[Engine, ...] = ("onnx", "vllm")) -> Iterator[str]:
    """The rows of a part, in the order in which they are measured."""
    if part == "fronts":
        yield from (f"{amount.name}: {budget}: {row}" for budget in BUDGETS for row in ROWS)
    elif part == "layers":
        yield from (f"{amount.name}: {name}" for name in (UNIFORM, UNEVEN))
    elif part == "forecasts":
        yield from FORECASTS
    else:
        yield from (f"{engine}: {plan}" for plan in SPEED_PLANS for engine in engines)


def parts_of_label(label: str) -> tuple[str, ...]:
    """What `labels_of` joined."""
    return tuple(label.split(": "))
