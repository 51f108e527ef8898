"""What a plan is asked for."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Literal

from ..compress.record.config import CompressConfig
from ..errors import OptionError
from ..export.for_vllm.config import GROUPED
from .budget import Budget
from .search import AMOUNTS, Effort

__all__ = ["PlanSettings"]


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """How to plan.

    Attributes:
        budget: what must hold.
        base: options of the compression that is planned; its widths do not count.
        engine: that will serve.
        target: whose data sheet gives the speed; None: this machine.
        tensor_parallel_size: over how many GPUs heads and MLP will be split.
        effort: quick trusts the proxy and measures the engine once; standard measures some candidates and
            the engine three times, thorough more candidates.
        evaluation: texts that candidates are scored on.
        quality_floor: perplexity ratio to the original at most, as measured on them.
        quantize: what the result will be quantised to; w4a16 and w8a16 want widths that groups divide. The
            budget counts the weights as they are before that.
    """

    budget: Budget
    base: CompressConfig = field(default_factory=lambda: CompressConfig(mlp_width=0.5))
    engine: Literal["vllm", "onnx"] = "vllm"
    target: str | None = None
    tensor_parallel_size: int = 1
    effort: Effort = "standard"
    evaluation: tuple[str, ...] = ("builtin",)
    quality_floor: float | None = None
    quantize: str = "none"

    def __post_init__(self) -> None:
        if self.effort not in ("quick", *AMOUNTS):
            raise OptionError(f"--effort is {self.effort!r}; choose one of quick, {', '.join(AMOUNTS)}.")
        if self.engine not in ("vllm", "onnx"):
            raise OptionError(f"--engine is {self.engine!r}; choose one of vllm, onnx.")
        if self.quantize not in ("none", *GROUPED):
            raise OptionError(
                f"--quantize is {self.quantize!r}; a plan takes {' or '.join(GROUPED)}, whose groups must "
                "divide its widths. Others ask for no other plan: leave it out."
            )
        if self.budget.decode_speedup is None and self.target is not None:
            raise OptionError("--target has no effect without --decode-speedup; leave one of them out.")
        if self.effort == "quick" and self.quality_floor is not None:
            raise OptionError("--quality-floor has no effect with --effort quick, which measures nothing.")
        if self.effort == "quick" and self.evaluation != ("builtin",):
            raise OptionError("--evaluation has no effect with --effort quick, which measures nothing.")

    def hashed(self, model: str) -> str:
        """Of everything that decides the plan for a model but the model's content."""
        asked = [model, {name: value for name, value in asdict(self).items() if name != "base"}]
        base = {name: value for name, value in vars(self.base).items() if name != "device"}
        return hashlib.sha256(json.dumps([*asked, base], sort_keys=True).encode()).hexdigest()
