"""Oracles: the closed form by an explicit inverse, an exact low rank, least squares, dropping."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from dotresize.compress.layers.nystrom import keep_by_leverage, ridge_leverage
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.compress.text.calibration import draw_windows
from dotresize.compress.weights.source import load_dense

from ..test_run import SMALL, logits_of


def inner_activations(rank: int | None = None) -> np.ndarray:
    rng = np.random.default_rng(3)
    width = 12 if rank is None else rank
    return rng.normal(size=(200, width)) * np.geomspace(3, 0.3, width) @ rng.normal(size=(width, 12))


def test_leverage_is_the_diagonal_of_its_definition() -> None:
    inner = inner_activations()
    moment = inner.T @ inner
    ridge = np.sort(np.linalg.eigvalsh(moment))[:7].sum() / 5
    expected = np.diag(moment @ np.linalg.inv(moment + ridge * np.eye(12)))
    assert_allclose(ridge_leverage(moment, 5), expected, rtol=1e-9)
    assert ridge_leverage(moment, 5).sum() <= 10


def test_activations_of_low_rank_are_predicted_exactly() -> None:
    inner = inner_activations(rank=4)
    units = keep_by_leverage(inner.T @ inner, 5)
    assert units.merge is not None
    # the floor under the inverse is 1e-9 of the mean energy
    assert_allclose(inner[:, units.kept] @ units.merge.expand, inner, atol=1e-4)


def test_the_prediction_is_least_squares_and_kept_neurons_are_themselves() -> None:
    inner = inner_activations()
    units = keep_by_leverage(inner.T @ inner, 6)
    assert units.merge is not None
    expected = np.linalg.lstsq(inner[:, units.kept], inner, rcond=None)[0]
    assert_allclose(units.merge.expand, expected, atol=1e-6)
    assert_allclose(units.merge.gate, np.eye(12)[:, units.kept])
    assert keep_by_leverage(inner.T @ inner, 12).merge is None


def test_without_fits_it_loses_less_than_dropping(pico_llama: Path) -> None:
    dense = load_dense(str(pico_llama))
    text = draw_windows(SMALL.calibration, dense.tokenizer, windows=20, window_tokens=64, seed=9)
    wanted = logits_of(dense.model, text.token_ids).log_softmax(-1)
    losses = []
    for method in ("nystrom", "magnitude"):
        config = CompressConfig(
            mlp_width=0.75,
            mlp_method=method,
            compensate="none",
            calibration=SMALL.calibration,
            calibration_windows=12,
            window_tokens=64,
        )
        found = logits_of(compress(dense, config).model, text.token_ids).log_softmax(-1)
        losses.append(float((wanted.exp() * (wanted - found)).sum(-1).mean()))
    assert losses[0] < losses[1]


@pytest.mark.parametrize("count", [1, 12])
def test_dead_neurons_have_no_leverage(count: int) -> None:
    inner = inner_activations()
    inner[:, 2] = 0.0
    scores = ridge_leverage(inner.T @ inner, count)
    assert abs(scores[2]) < 1e-9
    assert bool(np.isfinite(scores).all())
