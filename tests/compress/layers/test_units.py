"""Oracles: selection by hand, and exact merging of duplicated neurons."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from dotresize.compress.families.canonical import Matrix
from dotresize.compress.families.family import Site
from dotresize.compress.layers.units import (
    group_energy,
    keep_units,
    merge_neurons,
    output_energy,
    pseudo_inverse,
    take_columns,
    take_rows,
    transport_outputs,
)
from dotresize.compress.record.config import Mass
from dotresize.compress.record.report import Widths

WIDTHS = Widths(
    hidden_size=4,
    intermediate_size=4,
    num_hidden_layers=1,
    num_attention_heads=6,
    num_key_value_heads=3,
    head_dim=2,
    vocab_size=1,
)
GATE = Site(path="gate", role="gate", inner="neuron")
DOWN = Site(path="down", role="writer", inner="neuron")
QUERY = Site(path="q", role="reader", inner="query")
KEY = Site(path="k", role="reader", inner="key")
OUT = Site(path="o", role="writer", inner="query")


def gated(gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    return gate / (1 + np.exp(-gate)) * up


def test_output_energy_weighs_activations_by_what_the_writer_does_with_them() -> None:
    assert_allclose(output_energy(np.array([1.0, 4.0]), np.array([9.0, 0.5])), [9.0, 2.0])


def test_keeping_neurons_selects_the_best_in_order() -> None:
    units = keep_units(np.array([3.0, 9.0, 1.0, 5.0]), 2)
    weight = torch.arange(16.0).reshape(4, 4)
    rows = take_rows(Matrix(weight, torch.arange(4.0)), GATE, units, WIDTHS)
    assert torch.equal(rows.weight, weight[[1, 3]])
    assert rows.bias is not None
    assert rows.bias.tolist() == [1.0, 3.0]
    assert torch.equal(take_columns(weight, DOWN, units, WIDTHS), weight[:, [1, 3]])


def test_a_group_is_its_key_head_and_all_of_its_query_heads() -> None:
    """Three groups of two query heads and one key head, two values each."""
    units = keep_units(np.array([1.0, 0.0, 2.0]), 2)
    queries = torch.arange(12.0)[:, None].expand(12, 4)
    kept = [0, 1, 2, 3, 8, 9, 10, 11]
    assert take_rows(Matrix(queries, None), QUERY, units, WIDTHS).weight[:, 0].tolist() == kept
    assert take_rows(Matrix(queries[:6], None), KEY, units, WIDTHS).weight[:, 0].tolist() == [0, 1, 4, 5]
    assert take_columns(queries.T, OUT, units, WIDTHS)[0].tolist() == kept


def test_group_energy_is_what_each_block_adds() -> None:
    rng = np.random.default_rng(4)
    inner, writer = rng.normal(size=(50, 12)), rng.normal(size=(4, 12))
    added = [np.sum((inner[:, g * 4 : g * 4 + 4] @ writer[:, g * 4 : g * 4 + 4].T) ** 2) for g in range(3)]
    assert_allclose(group_energy(inner.T @ inner, writer, 3), added)


@pytest.mark.parametrize("mass", ["uniform", "energy"])
def test_copies_of_a_neuron_merge_without_loss(mass: Mass) -> None:
    """Six neurons, of which three repeat (one with its up row negated): three new ones say everything."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 8))
    gate_rows, up_rows = rng.normal(size=(3, 8)), rng.normal(size=(3, 8))
    gate_rows = np.concatenate([gate_rows, gate_rows])
    up_rows = np.concatenate([up_rows, up_rows * np.array([[1.0], [-1.0], [1.0]])])
    inner = gated(x @ gate_rows.T, x @ up_rows.T)
    score = np.array([3.0, 3.0, 3.0, 1.0, 1.0, 1.0])
    neurons = merge_neurons(inner.T @ inner / 300, score, 3, reg=0.0, signed=True, mass=mass).merge
    assert neurons is not None
    narrow = gated(x @ (neurons.gate.T @ gate_rows).T, x @ (neurons.up.T @ up_rows).T)
    writer = rng.normal(size=(4, 6))
    # least squares through the new neurons recovers the old output: nothing was lost in the merge
    fitted = np.linalg.lstsq(narrow, inner @ writer.T, rcond=None)[0]
    assert_allclose(narrow @ fitted, inner @ writer.T, atol=1e-6)


def test_energy_mass_lets_a_kept_neuron_stay_closer_to_itself() -> None:
    rng = np.random.default_rng(1)
    inner = rng.normal(size=(400, 12)) * np.geomspace(4, 0.1, 12)
    second_moment = inner.T @ inner / 400
    score = np.diag(second_moment).copy()
    own = {}
    for mass in ("uniform", "energy"):
        neurons = merge_neurons(second_moment, score, 6, reg=0.01, signed=True, mass=mass).merge
        assert neurons is not None
        own[mass] = neurons.gate[np.arange(6), np.arange(6)].mean()
    assert own["energy"] > own["uniform"]


def test_the_merge_is_undone_by_its_pseudo_inverse() -> None:
    rng = np.random.default_rng(2)
    inner = rng.normal(size=(200, 30))
    score = np.diag(inner.T @ inner / 200).copy()
    neurons = merge_neurons(inner.T @ inner / 200, score, 25, reg=0.0, signed=True, mass="energy").merge
    assert neurons is not None
    assert_allclose(neurons.expand, np.linalg.pinv(neurons.up), atol=1e-9)


@pytest.mark.parametrize("columns", ["independent", "nearly equal", "equal"])
def test_the_pseudo_inverse_holds_for_every_condition(columns: str) -> None:
    matrix = np.random.default_rng(3).normal(size=(40, 10))
    if columns != "independent":
        matrix[:, 1] = matrix[:, 0] * (1 + (1e-6 if columns == "nearly equal" else 0.0))
        matrix[0, 1] += 1e-5 if columns == "nearly equal" else 0.0
    inverse = pseudo_inverse(matrix)
    assert_allclose(matrix @ inverse @ matrix, matrix, atol=1e-9)
    assert_allclose(inverse, np.linalg.pinv(matrix), atol=1e-9 * np.abs(inverse).max())


def test_what_copies_wrote_is_transported_without_loss() -> None:
    """Three neurons are multiples of three others and as important, so the exact plan is their matching."""
    rng = np.random.default_rng(5)
    inner = rng.normal(size=(300, 3))
    inner = np.concatenate([inner, inner * np.array([0.5, -2.0, 1.5])], axis=1)
    units = transport_outputs(inner.T @ inner / 300, np.array([2.0, 2, 2, 1, 1, 1]), 3, reg=0.0)
    assert units.merge is not None
    assert units.kept.tolist() == [0, 1, 2]
    # the plan gives 1e-6 of the mass to others at most
    assert_allclose(inner[:, units.kept] @ units.merge.expand, inner, atol=1e-5)
    assert_allclose(units.merge.gate, np.eye(6)[:, :3])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), reg=st.sampled_from([0.0, 0.05, 1.0]), kept=st.integers(1, 11))
def test_transported_outputs_never_err_more_than_dropped_ones(seed: int, reg: float, kept: int) -> None:
    rng = np.random.default_rng(seed)
    inner = rng.normal(size=(50, 12)) @ rng.normal(size=(12, 12)) * np.geomspace(3, 0.3, 12)
    score = rng.uniform(0.1, 1.0, size=12)
    units = transport_outputs(inner.T @ inner / 50, score, kept, reg=reg)
    assert units.merge is not None
    rest = inner - inner[:, units.kept] @ units.merge.expand
    dropped = np.setdiff1d(np.arange(12), units.kept)
    assert np.all(np.sum(rest[:, dropped] ** 2, 0) <= np.sum(inner[:, dropped] ** 2, 0) * (1 + 1e-9))
    assert_allclose(rest[:, units.kept], 0.0, atol=1e-12)


def test_nothing_is_transported_when_every_neuron_stays() -> None:
    assert transport_outputs(np.eye(4), np.ones(4), 4, reg=0.1).merge is None
