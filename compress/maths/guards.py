"""Numbers that are not finite, and factorisations that give up: said where they happen, with what to try."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from ...errors import ConvergenceError

__all__ = ["check_finite", "factorising"]

_ADVICE = (
    "check the weights (a model that overflows its own dtype?), give more calibration text, or pull harder "
    "towards the unfitted weights with a higher --ridge-tokens"
)


def check_finite(where: str, *values: "Tensor | np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> None:
    """Refuse activations, or sums over them, that overflowed.

    Args:
        where: layer and site, e.g. "layer 3, mlp.readout".
        values: any shapes.

    Raises:
        ConvergenceError: naming the place.
    """
    for value in values:
        tensor = torch.as_tensor(value)
        if not bool(torch.isfinite(tensor).all()):
            count = int((~torch.isfinite(tensor)).sum())
            raise ConvergenceError(
                f"the activations at {where} are not finite ({count} of {tensor.numel()} values or sums over "
                "them); check the model's weights, and that it answers sensibly, before narrowing it"
            )


@contextmanager
def factorising(what: str) -> Iterator[None]:
    """Turn a factorisation that gave up into an error that says what to try.

    Raises:
        ConvergenceError: naming the factorisation.
    """
    try:
        yield
    except (torch.linalg.LinAlgError, np.linalg.LinAlgError) as error:  # type: ignore[attr-defined]
        raise ConvergenceError(
            f"{what} could not be factorised ({str(error).splitlines()[0]}); {_ADVICE}."
        ) from error
