"""Batched sampling from a causal model at temperature 1, with a cache, by seed.

Shapes: b prompts of different lengths, t tokens so far, v vocabulary.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["sample"]


@torch.no_grad()
def sample(
    model: "PreTrainedModel",
    prompts: Sequence[Sequence[int]],
    *,
    new_tokens: int,
    stop: frozenset[int],
    generator: torch.Generator,
    report: Callable[[int], None] = lambda tokens: None,
) -> list[list[int]]:
    """What the model says after each prompt; a stop token ends it and is kept.

    Args:
        model: runs on its own device.
        prompts: token ids, each with at least one.
        new_tokens: at most this many each.
        stop: token ids that end a text.
        generator: on the CPU, so that a seed means the same on every device.
        report: told how many tokens a step gave.

    Returns:
        New tokens of every prompt, in the order of the prompts.
    """
    token_ids, mask = _padded(prompts)  # (b, t)
    said: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))  # which prompt each row of the batch belongs to
    cache = _roomy_cache(model, token_ids.shape[1] + new_tokens)
    for _ in range(new_tokens):
        logits = _step(model, token_ids, mask, cache)  # (b, v) float32, on the CPU
        drawn = _draw(logits, generator)  # (b, 1)
        for row, token in zip(rows, drawn[:, 0].tolist(), strict=True):
            said[row].append(token)
        report(len(rows))
        going = [index for index, row in enumerate(rows) if said[row][-1] not in stop]
        if not going:
            break
        token_ids, mask = drawn, torch.cat([mask, torch.ones_like(drawn)], dim=1)
        if len(going) < len(rows):
            kept = torch.tensor(going)
            cache.batch_select_indices(kept.to(model.device))
            token_ids, mask = token_ids[kept], mask[kept]
            rows = [rows[index] for index in going]
    return said


def _draw(logits: Tensor, generator: torch.Generator) -> Tensor:
    """A token per row, (b, 1), by inverting the cumulated probabilities: one random number each."""
    cumulated = torch.softmax(logits, dim=-1).double().cumsum(dim=-1)  # (b, v)
    chance = torch.rand(len(logits), 1, dtype=torch.float64, generator=generator) * cumulated[:, -1:]
    return torch.searchsorted(cumulated, chance, right=True).clamp(max=logits.shape[-1] - 1)


def _roomy_cache(model: "PreTrainedModel", tokens: int) -> Any:
    """A cache with room for so many tokens: the usual one copies itself at every step."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    class Roomy(DynamicLayer):
        _rooms: list[Tensor]  # keys and values, each (b, heads, tokens, head width)

        def update(
            self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
        ) -> tuple[Tensor, Tensor]:
            before = self.get_seq_length()
            after = before + key_states.shape[-2]
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
                self._rooms = [
                    each.new_empty(*each.shape[:-2], tokens, each.shape[-1])
                    for each in (key_states, value_states)
                ]
            for room, new in zip(self._rooms, (key_states, value_states), strict=True):
                room[..., before:after, :] = new
            self.keys, self.values = (room[..., :after, :] for room in self._rooms)
            return self.keys, self.values

        def batch_select_indices(self, indices: Tensor) -> None:
            self._rooms = [room[indices] for room in self._rooms]
            length = self.get_seq_length()
            self.keys, self.values = (room[..., :length, :] for room in self._rooms)

    cache: Any = DynamicCache(config=model.config)
    roomy: Any = Roomy  # its base is not annotated
    cache.layers = [roomy() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def _padded(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Prompts padded on the left, and a mask with ones where a prompt is, both (b, t) int64."""
    longest = max(map(len, prompts))
    token_ids = torch.zeros(len(prompts), longest, dtype=torch.int64)
    mask = torch.zeros_like(token_ids)
    for row, prompt in enumerate(prompts):
        token_ids[row, longest - len(prompt) :] = torch.tensor(list(prompt))
        mask[row, longest - len(prompt) :] = 1
    return token_ids, mask


def _step(model: "PreTrainedModel", token_ids: Tensor, mask: Tensor, cache: Any) -> Tensor:
    """Logits of the next token, (b, v)."""
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -token_ids.shape[1] :]
    options: dict[str, Any] = {"position_ids": positions.to(model.device), "logits_to_keep": 1}
    known = inspect.signature(model.forward).parameters
    output = model(
        token_ids.to(model.device),
        attention_mask=mask.to(model.device),
        past_key_values=cache,
        use_cache=True,
        **{name: value for name, value in options.items() if name in known},
    )
    logits: Tensor = output.logits[:, -1].float().cpu()
    return logits
