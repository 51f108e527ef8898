"""A model that scores the same windows again and again: from the second time on they pass its head alone.

Shapes: t tokens of a window, d hidden size, v vocabulary.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...compress.families.logits import finished_logits

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["KeptStates", "final_states", "log_probabilities_behind"]


@torch.no_grad()
def final_states(model: "PreTrainedModel", window: Tensor) -> Tensor:
    """What the head reads, (t, d) in the model's dtype, on its device.

    Args:
        model: any that this project narrows.
        window: (t,) int64.
    """
    found = model.base_model(window[None].to(model.device), use_cache=False)
    states: Tensor = found.last_hidden_state[0]
    return states


@torch.no_grad()
def log_probabilities_behind(model: "PreTrainedModel", states: Tensor) -> Tensor:
    """Log-probabilities (t - 1, v) float32 from `final_states` (t, d), as `log_probabilities_of` has them."""
    logits = finished_logits(model.get_output_embeddings()(states[None]), model.config)
    return torch.log_softmax(logits[0, :-1].float(), dim=-1)


class KeptStates:
    """Scores windows in place of a model in `measure_perplexity`; it keeps t d numbers of each."""

    def __init__(self, model: "PreTrainedModel") -> None:
        """Take the model; nothing is computed yet."""
        self._model = model
        self._states: dict[bytes, Tensor] = {}

    def __call__(self, window: Tensor) -> Tensor:
        """Log-probabilities (t - 1, v) float32 of a window (t,), on the model's device."""
        key = window.cpu().numpy().tobytes()
        if key not in self._states:
            self._states[key] = final_states(self._model, window)
        return log_probabilities_behind(self._model, self._states[key].to(self._model.device))
