"""Weights as they were read: tied as the config says, finite, and not degenerate."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["check_tie", "check_value", "check_values", "untied"]


def untied(what: str) -> ModelError:
    """The refusal of a head and an embedding that differ although the config ties them."""
    return ModelError(
        f"{what}: config.json says tie_word_embeddings, but the file holds a head that differs from the "
        "embedding; set it to false in config.json, or remove the head"
    )


def check_tie(model: "PreTrainedModel", what: str) -> None:
    """Refuse a head and an embedding that differ although the config ties them.

    Raises:
        ModelError: a reload elsewhere would give another model.
    """
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or embedding is None or not getattr(model.config, "tie_word_embeddings", False):
        return
    if head.weight is not embedding.weight:
        raise untied(what)


def check_values(model: "PreTrainedModel", what: str, *, degenerate: bool) -> None:
    """Look at every weight once.

    Args:
        model: as it was loaded.
        what: names it in the error.
        degenerate: as in `check_value`.

    Raises:
        ModelError: naming the tensor and what is wrong with it.
    """
    for name, parameter in model.named_parameters():
        check_value(name, parameter.detach(), what, degenerate=degenerate)


def check_value(name: str, values: Tensor, what: str, *, degenerate: bool) -> None:
    """Look at one tensor.

    Args:
        name: its name in the model.
        values: in the dtype that they have in memory.
        what: names the model in the error.
        degenerate: also refuse matrices and norm gains that carry nothing: a matrix of one repeated value, a
            gain of zeros. A bias of zeros is an ordinary bias.

    Raises:
        ModelError: naming the tensor and what is wrong with it.
    """
    if values.element_size() == 1:
        values = values.float()
    if not bool(torch.isfinite(values).all()):
        count = int((~torch.isfinite(values)).sum())
        raise ModelError(
            f"{what}: {name} holds {count} values that are not finite of {values.numel()}; its weights "
            "are broken, download or make the model again"
        )
    if degenerate and (problem := _degenerate(name, values)):
        raise ModelError(f"{what}: {name} {problem}; its weights are broken, download or make it again")


def _degenerate(name: str, values: Tensor) -> str:
    if values.ndim == 2 and values.numel() > 1 and bool((values == values[0, 0]).all()):
        return f"is {float(values[0, 0]):g} everywhere, expected a matrix that carries something"
    if values.ndim == 1 and not name.endswith("bias") and not bool(values.any()):
        return "is zero everywhere, expected the gains of a norm"
    return ""
