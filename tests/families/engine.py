"""A directory in stock vLLM, in a process of its own, against stock transformers in this one."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.numpy import load_file

from dotresize.export.process.child import ChildError
from dotresize.export.proof.runner import CHECKS

from .conftest import strictly_loaded

__all__ = ["Agreement", "compare_in_vllm"]

PROMPTS = [[5, 9, 77, 200, 31, 8, 300, 12, 44, 260, 17], [3, 4, 250, 250, 19, 60]]
STEPS = 12
FORKS = Path(__file__).with_name("vllm_forks.py")


class Agreement(NamedTuple):
    """How close vLLM came."""

    worst_log_probability: float
    greedy_equal: bool


def compare_in_vllm(directory: Path, scratch: Path) -> Agreement:
    """Log-probabilities of two prompts and greedy tokens after them, float32.

    Raises:
        ChildError: vLLM does not open or run it.
    """
    model = strictly_loaded(directory, torch.float32).eval()
    prompts, rows = [], []
    for tokens in PROMPTS:
        ids = torch.tensor([tokens])
        with torch.no_grad():
            rows.append(model(ids).logits[0].log_softmax(-1).numpy())
            for _ in range(STEPS):
                ids = torch.cat((ids, model(ids, use_cache=False).logits[:, -1:].argmax(-1)), 1)
        prompts.append({"token_ids": tokens, "greedy_token_ids": ids[0, len(tokens) :].tolist()})
    (scratch / "prompts.json").write_text(json.dumps({"prompts": prompts}), encoding="utf-8")
    _run_vllm([str(directory), str(scratch / "prompts.json"), str(scratch), "float32"], scratch / "vllm.log")
    found = load_file(scratch / "logits.safetensors")
    worst = max(np.abs(row[:-1] - found[str(index)]).max() for index, row in enumerate(rows))
    wanted = [prompt["greedy_token_ids"] for prompt in prompts]
    result = json.loads((scratch / "result.json").read_text(encoding="utf-8"))
    return Agreement(float(worst), result["greedy_token_ids"] == wanted)


def _run_vllm(arguments: list[str], log: Path) -> None:
    """One run of the program that `dotresize verify` starts."""
    forks = _forks()
    assert forks.stdin is not None
    assert forks.stdout is not None
    forks.stdin.write(json.dumps({"arguments": arguments, "log": str(log)}) + "\n")
    forks.stdin.flush()
    if (code := forks.stdout.readline().strip()) != "0":
        raise ChildError(f"exit code {code or 'unknown'}: {log.read_text(errors='replace')[-2000:]}")


@cache
def _forks() -> "subprocess.Popen[str]":
    """Ends with this process, whose end of the pipe it reads."""
    ours = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1"}
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", **os.environ, **ours}
    command = [sys.executable, "-I", str(FORKS), str(CHECKS / "vllm_runner.py")]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=settings,
    )
