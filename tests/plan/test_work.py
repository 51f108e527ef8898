"""The count of operations against the products that torch really dispatches in a compression."""

from pathlib import Path
from typing import Any

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.compress.weights.source import load_dense
from dotresize.compress.widths.plan import make_plan
from dotresize.plan.run_cost.work import Rates, Work, compression_work, seconds_of_work

from ..text import TEXT


class Counter(TorchDispatchMode):
    """Adds up 2 n p q of every product (n, p) (p, q) that torch is asked for, attention included."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = str(func).split(".")[1]
        if name in ("mm", "addmm", "addmm_", "bmm"):
            self.operations += 2 * result.numel() * args[1 if name.startswith("addmm") else 0].shape[-1]
        elif name == "_scaled_dot_product_flash_attention_for_cpu":
            windows, heads, tokens, width = args[0].shape
            self.operations += 4 * windows * heads * tokens * tokens * width
        elif name == "_scaled_dot_product_flash_attention_for_cpu_backward":
            windows, heads, tokens, width = args[1].shape
            self.operations += 8 * windows * heads * tokens * tokens * width
        return result


@pytest.mark.parametrize(
    "options",
    [
        {"mlp_width": 0.5},
        {"mlp_width": 0.5, "neuron_steps": 0},
        {"mlp_width": 0.5, "compensate": "none"},
        {"mlp_width": 0.5, "compensate": "none", "mlp_method": "fisher"},
        {"hidden_size": 48, "compensate": "readout"},
        {"kv_groups": 1},
        {"layers": 2},
        {"hidden_size": 48, "mlp_width": 0.5, "kv_groups": 1, "layers": 2},
    ],
)
def test_it_counts_what_torch_counts(pico_llama_untied: Path, options: dict[str, Any]) -> None:
    """Within 12 %: eigenvectors and solutions are counted here only, error sums and writers' folds there."""
    dense = load_dense(str(pico_llama_untied))
    config = CompressConfig(calibration=TEXT, calibration_windows=8, window_tokens=128, **options)
    with Counter() as counter:
        compress(dense, config)
    plan = make_plan(dense.model.config, dense.family, config)
    work = compression_work(plan, config.settings(), tokens=8 * 128, window_tokens=128, active=1)
    assert work.single + work.double + work.fast == pytest.approx(counter.operations, rel=0.12)


def test_time_is_operations_over_rates() -> None:
    work = Work(single=6.0, double=2.0) + Work(double=2.0, fast=8.0)
    assert seconds_of_work(work, Rates(single=2.0, double=1.0, fast=4.0)) == 3.0 + 4.0 + 2.0
