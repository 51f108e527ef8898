"""LayerNorm in zero-sum coordinates. The oracle is torch's own layer_norm, in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dotresize.compress.maths.basis import residual_basis
from dotresize.compress.maths.zero_sum import carry_constant, zero_sum_basis, zero_sum_frame

Array = NDArray[np.float64]
EXACT: dict[str, Any] = {
    "rtol": 0,
    "atol": 1e-12,
}  # float64 has 2e-16; sums of a few hundred products of size one


def layer_norm(x: Array, epsilon: float) -> Array:
    normed: Array = torch.nn.functional.layer_norm(torch.from_numpy(x), x.shape[-1:], eps=epsilon).numpy()
    return normed


@pytest.mark.parametrize("width", [2, 3, 64, 577])
def test_the_frame_is_orthonormal_and_sums_to_zero(width: int) -> None:
    frame = zero_sum_frame(width)
    np.testing.assert_allclose(frame.T @ frame, np.eye(width - 1), **EXACT)
    np.testing.assert_allclose(frame.sum(0), 0, **EXACT)
    np.testing.assert_allclose(frame @ frame.T, np.eye(width) - 1 / width, **EXACT)


@pytest.mark.parametrize("method", ["pca", "magnitude", "dot"])
def test_layer_norm_at_full_width_is_only_rotated(method: str) -> None:
    """The narrow norm of x Q is the dense norm of x, seen in the basis Q, epsilon included."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 24)) @ rng.normal(size=(24, 24)) + 3.0
    basis = _basis(x, 24, method)
    found = layer_norm(x @ basis, 0.1)
    np.testing.assert_allclose(found @ basis.T, layer_norm(x, 0.1), **EXACT)


def test_a_stream_of_low_rank_survives_narrowing_exactly() -> None:
    """Rank r needs r + 1 columns. Scaled by sqrt(k / d), the narrow stream keeps rms and so epsilon."""
    rng = np.random.default_rng(1)
    rank, d = 9, 30
    x = rng.normal(size=(80, rank)) @ rng.normal(size=(rank, d))
    x -= x.mean(1, keepdims=True)  # mixing rows of rank r with the mean would add a dimension
    k = rank + 1
    basis = _basis(x, k, "pca")
    found = layer_norm(x @ basis * (k / d) ** 0.5, 0.1) @ basis.T * (d / k) ** 0.5
    np.testing.assert_allclose(found, layer_norm(x, 0.1), **EXACT)


def test_the_free_direction_carries_a_constant() -> None:
    rng = np.random.default_rng(2)
    x, bias, reader = rng.normal(size=(20, 16)), rng.normal(size=16), rng.normal(size=(5, 16))
    basis = _basis(x, 16, "pca")
    wanted = (layer_norm(x, 1e-5) + bias) @ reader.T
    narrow_reader = carry_constant(reader @ basis, reader @ bias)
    found = (layer_norm(x @ basis, 1e-5) + 1.0) @ narrow_reader.T
    np.testing.assert_allclose(found, wanted, **EXACT)


def _basis(x: Array, width: int, method: str) -> Array:
    normed = layer_norm(x, 0.0) @ zero_sum_frame(x.shape[1])
    reduced = residual_basis(normed.T @ normed, width - 1, method=method, reg=0.0, signed=True)  # type: ignore[arg-type]
    return zero_sum_basis(reduced.project)
