"""A directory in stock vLLM, in a process of its own, against stock transformers in this one."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from dotresize.export.runner import run_check

from .conftest import strictly_loaded

__all__ = ["Agreement", "compare_in_vllm"]

PROMPTS = [[5, 9, 77, 200, 31, 8, 300, 12, 44, 260, 17], [3, 4, 250, 250, 19, 60]]
STEPS = 12


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
    found = run_check("vllm_runner.py", directory, scratch / "prompts.json", ["float32"])
    worst = max(np.abs(a[:-1] - b).max() for a, b in zip(rows, found.logits, strict=True))
    wanted = [prompt["greedy_token_ids"] for prompt in prompts]
    return Agreement(float(worst), found.result["greedy_token_ids"] == wanted)
