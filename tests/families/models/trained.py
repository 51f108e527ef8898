"""A pico that has learnt something: a quarter of a minute on Python's documentation.

Random weights have no neurons that matter more than others and no directions that carry the stream; how well
narrowing chooses and repairs shows only on weights that were trained.
"""

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

__all__ = ["perplexity", "train"]

WINDOW = 64
BATCH = 16


def train(model: "PreTrainedModel", tokens: "Tensor", *, steps: int = 400) -> None:
    """Train on windows of a long row of tokens (n,), in place, with a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=2e-3, total_steps=steps)
    model.train()
    for _ in range(steps):
        starts = torch.randint(len(tokens) - WINDOW, (BATCH,), generator=generator)
        batch = torch.stack([tokens[start : start + WINDOW] for start in starts.tolist()])
        loss = model(batch, labels=batch, use_cache=False).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    model.eval()


def perplexity(model: "PreTrainedModel", tokens: "Tensor") -> float:
    """Of a row of tokens (n,) in windows that do not overlap."""
    windows = tokens[: len(tokens) // WINDOW * WINDOW].view(-1, WINDOW)
    with torch.no_grad():
        losses = [model(part, labels=part, use_cache=False).loss for part in windows.split(BATCH)]
    return float(torch.stack(losses).mean().exp())
