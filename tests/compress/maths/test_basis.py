"""Oracles: orthonormality, Theorem 2.1 (QR commutes with RMSNorm), eigenvalues."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from dotresize.compress.maths.basis import largest, residual_basis
from dotresize.compress.record.config import Method

METHODS: tuple[Method, ...] = ("dot", "magnitude", "pca", "pca+dot")


def moment(seed: int, width: int = 10) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(80, width)) * np.geomspace(3, 0.3, width)
    return rows.T @ rows / 80


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("width", [1, 7, 10])
@pytest.mark.parametrize("reg", [0.0, 0.01])
def test_columns_are_orthonormal(method: Method, width: int, reg: float) -> None:
    basis = residual_basis(moment(0), width, method=method, reg=reg, signed=True)
    assert basis.project.shape == (10, width)
    assert_allclose(basis.project.T @ basis.project, np.eye(width), atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_the_papers_inverse_equals_the_transpose(method: Method) -> None:
    """R T^+ = R (QR)^+ = Q^T whenever T has full column rank."""
    basis = residual_basis(moment(1), 6, method=method, reg=0.01, signed=True)
    assert_allclose(basis.expand, basis.project.T, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.integers(1, 12),
    scale=st.floats(1e-3, 1e3),
)
def test_rms_norm_commutes_with_the_orthonormal_factor(seed: int, width: int, scale: float) -> None:
    """Theorem 2.1: for h in the span of Q, norm(h Q) and norm(h) Q agree up to the constant sqrt(k / d)."""
    rng = np.random.default_rng(seed)
    transport = np.abs(rng.normal(size=(12, width))) + 0.01
    project, triangular = np.linalg.qr(transport / transport.sum(0))
    hidden = scale * rng.normal(size=(5, width)) @ project.T  # rows in the span of Q
    narrow = hidden @ project

    def norm(rows: np.ndarray) -> np.ndarray:
        return rows / np.sqrt((rows**2).mean(-1, keepdims=True))

    assert_allclose(norm(narrow) * np.sqrt(12 / width), norm(hidden) @ project, rtol=1e-9, atol=1e-9)
    assert_allclose(
        norm(narrow) @ triangular * np.sqrt(12 / width), norm(hidden) @ project @ triangular, rtol=1e-6
    )


def test_pca_keeps_the_largest_eigenvalues() -> None:
    second_moment = moment(2)
    basis = residual_basis(second_moment, 4, method="pca", reg=0.01, signed=True)
    kept = np.trace(basis.project.T @ second_moment @ basis.project)
    assert_allclose(kept, np.sort(np.linalg.eigvalsh(second_moment))[-4:].sum(), rtol=1e-12)


def test_magnitude_keeps_the_neurons_with_most_energy() -> None:
    second_moment = np.diag([1.0, 5.0, 2.0, 5.0])
    basis = residual_basis(second_moment, 3, method="magnitude", reg=0.01, signed=True)
    assert_allclose(basis.project, np.eye(4)[:, [1, 2, 3]])


def test_ties_go_to_the_lower_index() -> None:
    assert largest(np.array([1.0, 1.0, 1.0, 2.0]), 2).tolist() == [0, 3]


def test_the_same_input_gives_the_same_bytes() -> None:
    first = residual_basis(moment(3), 5, method="pca+dot", reg=0.01, signed=True)
    again = residual_basis(moment(3), 5, method="pca+dot", reg=0.01, signed=True)
    assert first.project.tobytes() == again.project.tobytes()
