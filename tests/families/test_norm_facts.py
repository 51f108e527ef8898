"""What narrowing may rely on where norms share an epsilon or stand after a sublayer. Float64."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-12}  # float64, sums of a few dozen products of size one
EPSILON = 0.1  # large: a wrong one shows in the second digit


def rms_norm(x: Array, epsilon: float = EPSILON) -> Array:
    normed: Array = x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)
    return normed


def rotation(width: int, seed: int) -> Array:
    turn: Array = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]
    return turn


def test_a_stream_scaled_with_its_width_keeps_epsilon() -> None:
    """Sqrt(k / d) x Q has the mean square over k that x has over d, where Q loses nothing of x."""
    d, k = 24, 10
    rng = np.random.default_rng(0)
    project = rotation(d, 1)[:, :k]
    x = rng.normal(size=(30, k)) @ project.T
    found = rms_norm(x @ project * (k / d) ** 0.5) @ project.T * (d / k) ** 0.5
    np.testing.assert_allclose(found, rms_norm(x), **EXACT)


def test_query_norms_stay_exact_when_epsilon_is_rescaled() -> None:
    """The other way: with eps d / k for all norms, queries and keys have to grow by sqrt(d / k)."""
    queries, ratio = np.random.default_rng(2).normal(size=(30, 16)), 24 / 10
    np.testing.assert_allclose(
        rms_norm(queries * ratio**0.5, EPSILON * ratio), rms_norm(queries, EPSILON), **EXACT
    )


def best_error_after_a_norm(turn: Array, gain: Array) -> float:
    """How closely `g' * norm(W' a)` can give `(g * norm(W a)) Q`, W' being the one with the right direction.

    Direction fixes W' a = s (G W a Q) / g' up to a factor s for each a; the norm then fixes the length.
    Returns the smallest relative error over g' and one factor for all a, by alternating closed forms.
    """
    written = np.random.default_rng(3).normal(size=(4000, len(gain)))
    wanted = rms_norm(written, 0.0) * gain @ turn
    new_gain = np.sqrt((wanted**2).mean(0))
    for _ in range(200):  # g' only enters through the length of wanted / g'
        found = rms_norm(wanted / new_gain, 0.0) * new_gain
        new_gain *= np.sqrt((wanted**2).sum(0) / (found**2).sum(0))
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def test_a_norm_after_a_sublayer_allows_signed_permutations_only() -> None:
    """D' norm(W' a) = Q^T G norm(W a) for all a needs Q^T G^2 Q diagonal: Q mixes equal |g| at most."""
    width = 12
    gain = np.linspace(0.5, 2.0, width)
    swap = np.eye(width)[np.random.default_rng(4).permutation(width)] * np.where(np.arange(width) % 2, 1, -1)
    assert best_error_after_a_norm(swap, gain) < 1e-12
    assert best_error_after_a_norm(rotation(width, 5), np.full(width, 0.7)) < 1e-12
    blocks: Array = np.kron(np.eye(2), rotation(width // 2, 6)).astype(np.float64)
    assert best_error_after_a_norm(blocks, np.repeat([0.5, 2.0], width // 2)) < 1e-12
    assert best_error_after_a_norm(rotation(width, 5), gain) > 0.05
