"""What large models would take in hours, memory and disk, from counted operations and data sheets."""

from collections.abc import Iterator
from typing import Any

import torch

from dotresize.bench.roofline.compress_cost import streamed_peak_bytes
from dotresize.compress.families.family import Family
from dotresize.compress.families.rows import family_of
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.widths.plan import Plan, make_plan
from dotresize.compress.widths.sizes import count_sizes
from dotresize.plan.run_cost.forecast import PlannedSizes
from dotresize.plan.run_cost.work import Rates, Work, compression_work, seconds_of_work

from ..shared.markdown import table

__all__ = ["predicted"]

# hidden, MLP, layers, heads of Llama 3.1; all have eight groups of heads of 128 and 128,256 tokens
MODELS = {
    "8 B": (4096, 14336, 32, 32),
    "70 B": (8192, 28672, 80, 64),
    "405 B": (16384, 53248, 126, 128),
}
GPUS = {"one H100": 1, "8 H100": 8, "2 x 8 H100": 16}
# NVIDIA H100 SXM, dense, from its data sheet: FP32 67, FP64 tensor cores 67, TF32 tensor cores 494 TFLOP/s
H100 = Rates(single=67e12, double=67e12, fast=494e12)
WINDOWS, TOKENS = 128, 512
DISK_BYTES_PER_SECOND = 3e9  # of one NVMe drive
READS = 3  # of the dense weights: looked at, surveyed, narrowed


def predicted(measured_share: float | None) -> Iterator[str]:
    """A section of the page.

    Args:
        measured_share: of the rates that the fits reach on another machine; None assumes half.
    """
    share = measured_share or 0.5
    origin = "assumed" if measured_share is None else "the share above"
    yield from ("", "## Larger models, predicted", "")
    yield (
        f"Nothing here is measured. Llama 3.1 shapes in bfloat16, both widths to 0.75, {WINDOWS} windows "
        f"of {TOKENS} tokens, full compensation. Hours: the operations of `plan/run_cost/work.py` at "
        f"{100 * share:.0f} % ({origin}) of an H100's data-sheet rates (float32 67, float64 67, TF32 "
        f"494 TFLOP/s), sums over tokens divided by the GPUs, solves not, and the weights read {READS} times "
        f"at {DISK_BYTES_PER_SECOND / 1e9:.0f} GB/s. Left out: self text, the reference's 68 passes, which "
        "read layers again that do not stay in memory, copies between host and GPUs and between GPUs, and "
        "measuring; so these are lower bounds. Largest part: the layers, sums and activations that are on a "
        "GPU at once; what exceeds 80 GB does not fit. Streams: of all GPUs together."
    )
    heads = ["model", *(f"h, {name}" for name in GPUS), "largest part, GB", "streams, GB", "output, GB"]
    yield ""
    yield from table(heads, (_row(name, *_planned(*shape), share) for name, shape in MODELS.items()))


def _planned(hidden: int, mlp: int, layers: int, heads: int) -> tuple[Plan, PlannedSizes]:
    from transformers import LlamaConfig

    widths: dict[str, Any] = {"hidden_size": hidden, "intermediate_size": mlp, "num_hidden_layers": layers}
    widths |= {"num_attention_heads": heads, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256}
    config: Any = LlamaConfig(**widths, tie_word_embeddings=False)
    config.architectures = ["LlamaForCausalLM"]
    family: Family = family_of("llama", "LlamaForCausalLM")
    plan = make_plan(config, family, CompressConfig(hidden_size=0.75, intermediate_size=0.75))
    sizes = PlannedSizes(
        dense=plan.dense,
        narrow=plan.narrow,
        dense_counts=count_sizes(config, family, torch.bfloat16),
        narrow_counts=count_sizes(plan.narrow_config, plan.narrow_family, torch.bfloat16),
    )
    return plan, sizes


def _row(name: str, plan: Plan, sizes: PlannedSizes, share: float) -> list[str]:
    once, twice = (_seconds(plan, windows) / share for windows in (WINDOWS, 2 * WINDOWS))
    reading = READS * sizes.dense_counts.weight_bytes / DISK_BYTES_PER_SECOND
    by_token = twice - once
    hours = [(once - by_token + by_token / gpus + reading) / 3600 for gpus in GPUS.values()]
    part = streamed_peak_bytes(
        sizes, tokens=WINDOWS * TOKENS, compensate="full", base_bytes=0, stream_bytes=0
    )
    streams = 4 * WINDOWS * TOKENS * (plan.dense.hidden_size + plan.narrow.hidden_size)
    figures = [f"{each:.2f}" for each in hours]
    figures += [f"{each / 1e9:,.0f}" for each in (part, streams, sizes.narrow_counts.weight_bytes)]
    return [name, *figures]


def _seconds(plan: Plan, windows: int) -> float:
    work: Work = compression_work(
        plan,
        CompressConfig(hidden_size=0.75, intermediate_size=0.75).settings(),
        tokens=windows * TOKENS,
        window_tokens=TOKENS,
        active=1,
    )
    return seconds_of_work(work, H100)
