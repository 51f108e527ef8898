"""The fits of one layer of an 8 B model against what its matrix products allow, in this process.

`python -m docs.make.scale.layer` prints JSON. Time is the processor's, of one thread, so that what else runs
on the machine counts little. Random weights, real shapes.
"""

import cProfile
import json
import pstats
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from dotresize.compress.families.call_arguments import call_arguments
from dotresize.compress.families.rows import family_of
from dotresize.compress.layers.job import Job, Streams
from dotresize.compress.layers.layer import narrow_one_layer
from dotresize.compress.maths.basis import Basis
from dotresize.compress.maths.precision import fast_products
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.record.progress import Silent
from dotresize.compress.streams.stream import Stream
from dotresize.compress.widths.plan import Plan, make_plan
from dotresize.plan.run_cost.work import Rates, layers_work, seconds_of_work

WINDOWS, TOKENS = 8, 256
SHAPE = {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8}
CONFIG = CompressConfig(hidden_size=0.75, intermediate_size=0.75, device="cpu", calibration_windows=WINDOWS)
PARTS = {
    "sums of the readout and writer fits (float64)": "add_rows",
    "solutions of those fits (float64)": "ridge_solve",
    "errors of those fits (float64)": "relative_error",
    "sums of the neuron step": "add_step_rows",
    "directions of the neuron step": "directions",
    "lengths of the neuron step": "add_line_rows",
    "check of the neuron step": "_relative_error",
    "readers in the new basis (float64)": "set_readers",
    "both streams moved on": "advance_narrow",
}
CPU = torch.device("cpu")


def main() -> None:
    """Narrow the layer once, and print what it took."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with torch.no_grad():
        rates, found = _rates(), _measure()
    work = found["work"]
    bound = seconds_of_work(work, rates)
    result = {
        "tokens": WINDOWS * TOKENS,
        "rates": vars(rates),
        "operations": vars(work),
        "bound_seconds": bound,
        "seconds": found["seconds"],
        "parts": found["parts"],
    }
    sys.stdout.write(json.dumps(result) + "\n")


def _measure() -> dict[str, Any]:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape: dict[str, Any] = {**SHAPE, "head_dim": 128, "vocab_size": 256, "num_hidden_layers": 1}
    config: Any = LlamaConfig(**shape, tie_word_embeddings=False, dtype=torch.float32)
    config.architectures = ["LlamaForCausalLM"]
    model: Any = LlamaForCausalLM(config).requires_grad_(False).eval()
    family = family_of("llama", "LlamaForCausalLM")
    plan = make_plan(config, family, CONFIG)
    job = Job.of(
        _coordinates(plan),
        device=CPU,
        family=family,
        dense_config=config,
        plan=plan,
        config=CONFIG.settings(),
        windows=WINDOWS,
        tokens=WINDOWS * TOKENS,
        stored_dtype=torch.bfloat16,
        progress=Silent(),
    )
    arguments = call_arguments(model, family, TOKENS, CPU)[0]
    dense = torch.randn(WINDOWS, TOKENS, plan.dense.hidden_size)
    streams = Streams(Stream(dense), Stream(job.projected(dense)))
    profile = cProfile.Profile(time.process_time)
    started = time.process_time()
    profile.runcall(narrow_one_layer, job, model.model.layers[0], 0, streams, arguments)
    seconds = time.process_time() - started
    work = layers_work(plan, CONFIG.settings(), tokens=WINDOWS * TOKENS, window_tokens=TOKENS, active=1)
    return {"seconds": seconds, "parts": _parts(profile, seconds), "work": work}


def _coordinates(plan: Plan) -> Basis:
    """The first of them: which basis it is decides no time."""
    project = np.eye(plan.dense.hidden_size, plan.narrow.hidden_size)
    return Basis(project, project.T.copy(), None)


def _parts(profile: cProfile.Profile, seconds: float) -> dict[str, float]:
    """Seconds of each part, and of what no part is."""
    found: dict[str, float] = {}
    for (_, _, function), values in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        for part, name in PARTS.items():
            if function == name:
                found[part] = found.get(part, 0.0) + float(values[3])
    return {**found, "forward passes and the rest": seconds - sum(found.values())}


def _rates() -> Rates:
    """Of large matrix products on one thread, in seconds of the processor."""
    rows, columns = torch.randn(2048, 4096), torch.randn(4096, 2048)
    wide = rows[:1024].double(), columns[:, :1024].double()

    def rate(left: torch.Tensor, right: torch.Tensor) -> float:
        best = min(_seconds(lambda: left @ right) for _ in range(3))
        return 2 * left.shape[0] * left.shape[1] * right.shape[1] / best

    with fast_products():
        fast = rate(rows, columns)
    return Rates(single=rate(rows, columns), double=rate(*wide), fast=fast)


def _seconds(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


if __name__ == "__main__":
    main()
