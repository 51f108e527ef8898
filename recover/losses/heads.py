"""From the hidden states that a head reads to logits, as transformers' own classes compute them.

Some families scale or cap the logits behind the head. Applying the head to a few positions at a time is what
keeps memory bounded, so these steps are repeated here; a test compares each family with its class.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...compress.families.logits import finished_logits
from .chunks import Head

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Finish", "finishing", "finishing_for_now", "head_of", "plain_again", "run_decoder"]

Finish = Callable[[Tensor, tuple[Tensor, ...], Head], Tensor]


def head_of(model: "PreTrainedModel") -> Head:
    """(n, hidden) -> (n, vocabulary) logits; gradients reach the head's own parameters."""
    head: Any = model.get_output_embeddings()

    def logits(hidden: Tensor) -> Tensor:
        # the weight itself, not the module's call: FSDP's hooks belong to the model's own call, not to chunks
        plain = isinstance(head, torch.nn.Linear)
        result: Tensor = torch.nn.functional.linear(hidden, head.weight, head.bias) if plain else head(hidden)
        return finished_logits(result, model.config)

    return Head(logits, tuple(head.parameters()))


def finishing(model: "PreTrainedModel") -> None:
    """Give a model the call `model(token_ids, finish=..., stream=...)`, which returns what `finish` does.

    A loss that applies the head itself has to be computed inside the model's own call: only there are the
    weights whole that FSDP keeps in shards, and wrappers (DDP, FSDP) watch what the call returns. `finish`
    gets what the head reads, (w, t, hidden), the residual stream before each layer but the first (empty
    unless `stream`), and the head. `plain_again` takes the call away.
    """

    def forward(input_ids: Tensor, *, finish: Finish, stream: bool = False, **_: Any) -> Tensor:
        return finish(*run_decoder(model, input_ids, stream=stream), head_of(model))

    model.forward = forward


def plain_again(model: "PreTrainedModel") -> None:
    """The class's own call."""
    model.__dict__.pop("forward", None)


@contextmanager
def finishing_for_now(model: Any) -> Iterator[None]:
    """Inside, a model, or the one that PEFT has wrapped, has the call of `finishing`."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    before = inner.__dict__.get("forward")
    finishing(inner)
    try:
        yield
    finally:
        plain_again(inner)
        if before is not None:
            inner.forward = before


def run_decoder(
    model: "PreTrainedModel", token_ids: Tensor, *, stream: bool = False
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """What the head reads, (w, t, hidden), and the residual stream before each layer but the first.

    Args:
        model: a causal language model that is not wrapped, or inside its own call.
        token_ids: (w, t) int64 on the model's device.
        stream: whether the stream is wanted; it is empty otherwise.
    """
    decoder: Any = model.get_decoder()
    out = decoder(token_ids, use_cache=False, output_hidden_states=stream)
    return out.last_hidden_state, tuple(out.hidden_states[1:-1]) if stream else ()
