"""docs/ADAPTERS.md from the results of `maker.run` alone: the same results, the same bytes."""

from statistics import median
from typing import Any

from ..shared.kept_results import machines
from ..shared.markdown import failures, table
from ..shared.measured import mean_kl, ratio_cells

__all__ = ["render"]


def render(results: dict[str, Any]) -> str:
    """The page as Markdown."""
    setting, rows = results["setting"], results["rows"]
    heads = ["model", "MB", "KL, nats per token", "perplexity ratio", "worst", "tokens per second", "cost"]
    cells = [
        [
            label,
            f"{row['bytes'] / 1e6:.1f}",
            f"{mean_kl(row['quality']):.4f}",
            *ratio_cells(row["quality"]),
            *_speed_cells(results["speed"].get(label)),
        ]
        for label, row in sorted(rows.items(), key=lambda each: (each[1]["base"], each[1]["rank"]))
    ]
    return "\n".join(
        [
            "# Adapters in closed form",
            "",
            _what(setting),
            "",
            f"Measured on {machines(results)}.",
            "",
            *table(heads, cells),
            "",
            *failures(results["failed"]),
            '`make bench-adapters ADAPTERS_ARGS="--base DIR --rank 32 --speed"` measures it, and goes on.',
            "",
        ]
    )


def _what(setting: dict[str, Any]) -> str:
    """What was measured, and on what."""
    texts = ", ".join(f"`{text}`" for text in setting["calibration"])
    return (
        f"`dotresize adapter BASE --teacher {setting['model']} --rank R`: what BASE lacks, as "
        f"a LoRA fitted without training to {setting['calibration_windows']} windows of "
        f"{setting['window_tokens']} tokens of {texts}. KL to the original, geometric mean and worst of the "
        f"perplexity ratios over {len(setting['evaluation'])} kinds of text (at most "
        f"{setting['evaluation_windows']} windows of {setting['evaluation_window_tokens']} tokens of each, "
        "no file of the calibration), weights in float32. MB: weights and adapter. Speed: one sequence "
        "decoding in vLLM, bfloat16, the median of rounds; cost: the median ratio of rounds with to rounds "
        "without the adapter, in turn in one engine."
    )


def _speed_cells(speed: dict[str, list[float]] | None) -> list[str]:
    """Tokens per second, and what the adapter costs."""
    if speed is None:
        return ["", ""]
    if "with" not in speed:
        return [f"{median(speed['without']):.1f}", ""]
    ratios = [with_it / without for with_it, without in zip(speed["with"], speed["without"], strict=True)]
    return [f"{median(speed['with']):.1f}", f"{median(ratios):.2f}x"]
