"""A model that scores the same windows again and again: from the second time on they pass its head alone.

Shapes: t tokens of a window, d hidden size, v vocabulary.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...compress.families.logits import finished_logits

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["KeptStates"]


class KeptStates:
    """Scores windows in place of a model in `measure_perplexity`; it keeps t d numbers of each."""

    def __init__(self, model: "PreTrainedModel") -> None:
        """Take the model, any that this project narrows; nothing is computed yet."""
        self._model = model
        self._states: dict[
            bytes, Tensor
        ] = {}  # window -> what the head reads, (1, t, d) in the model's dtype

    @torch.no_grad()
    def __call__(self, window: Tensor) -> Tensor:
        """Log-probabilities (t - 1, v) float32 of a window (t,), as `log_probabilities_of` has them."""
        model, key = self._model, window.cpu().numpy().tobytes()
        if key not in self._states:
            found = model.base_model(window[None].to(model.device), use_cache=False)
            self._states[key] = found.last_hidden_state
        raw = model.get_output_embeddings()(self._states[key].to(model.device))
        logits = finished_logits(raw, model.config)[0, :-1]
        return torch.log_softmax(logits.float(), dim=-1)
