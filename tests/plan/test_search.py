"""The proxy by closed forms, and the search on a loss that is known everywhere."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from dotresize.compress.families.family import Axis
from dotresize.compress.record.progress import Silent
from dotresize.compress.weights.source import load_dense
from dotresize.plan.axes import Candidate
from dotresize.plan.budget import Budget
from dotresize.plan.candidates import holds, spread
from dotresize.plan.observe import observe_model
from dotresize.plan.per_layer import ROWS, Uniformity, spread_over_layers, uniformity_of
from dotresize.plan.proxy import LayerLosses, Observed, proxy_loss, proxy_terms, tail_shares
from dotresize.plan.search import AMOUNTS, Ranked, search, start_of, work_units
from dotresize.plan.search_state import Measured, SearchState, state_path

from .test_candidates import predictor_of


def test_the_tail_is_what_the_smallest_carry() -> None:
    assert tail_shares(np.array([1.0, 6.0, 3.0])).tolist() == pytest.approx([1.0, 0.4, 0.1, 0.0], abs=1e-15)


def test_the_terms_of_the_proxy() -> None:
    """Two layers of one sublayer each: a branch of a tenth, and one of a fifth, of the stream."""
    layers = [[LayerLosses(share, {"mlp": tail_shares(np.array([3.0, 1.0]))})] for share in (0.1, 0.2)]
    observed = Observed(tail_shares(np.array([9.0, 1.0])), np.array([0.05, 0.3]), layers)
    assert proxy_loss(observed, (2, 2, 1, 2, 0)) == 0.0
    assert proxy_terms(observed, (2, 1, 1, 2, 0))["mlp"] == pytest.approx(0.25 * 0.3)
    assert proxy_terms(observed, (2, 2, 1, 1, 0))["layers"] == pytest.approx(0.1)  # the first layer goes
    assert proxy_terms(observed, (1, 2, 1, 2, 0))["hidden"] == pytest.approx(0.1 * 1.3)
    weights: dict[Axis, float] = {"mlp": 5.0, "layers": 7.0}
    assert proxy_loss(observed, (2, 1, 1, 1, 0), weights) == pytest.approx(7.0 * 0.1 + 5.0 * 0.25 * 0.2)


def test_a_model_loses_nothing_at_full_width_and_more_with_every_step(pico_llama: Path) -> None:
    dense = load_dense(str(pico_llama))
    tokens = torch.randint(0, 384, (2, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mlp = dense.model.get_submodule("model.layers.1.mlp.down_proj")
        mlp.get_parameter("weight")[:, :90] = 0.0  # six neurons of layer 1 say something
        observed = observe_model(dense, tokens, torch.device("cpu"), Silent())
    assert proxy_loss(observed, (64, 96, 2, 3, 0)) == pytest.approx(0.0, abs=1e-12)
    assert observed.layers[1][1].tails["mlp"][6] == pytest.approx(0.0, abs=1e-12)
    assert observed.layers[1][1].tails["mlp"][5] > 0.01
    for axis, value in enumerate((56, 88, 1, 2)):
        narrower = tuple(value if axis == other else own for other, own in enumerate((64, 96, 2, 3, 0)))
        assert proxy_loss(observed, narrower) > 1e-4


@pytest.mark.parametrize("effort", ["standard", "thorough"])
def test_the_search_finds_what_the_proxy_does_not_know(pico_llama_untied: Path, effort: str) -> None:
    """The loss wants 56, 72, 2, 2; the proxy is blind. Any seed gives the same twice, at the budget."""
    amount = AMOUNTS[effort]  # type: ignore[index]
    axes, predictor = predictor_of(pico_llama_untied, Budget(params=0.6))
    needs = predictor.needs()
    pool = [Ranked(candidate=one, proxy=1.0) for one in spread(axes, predictor.predict, needs)]
    measured: list[tuple[Candidate, int]] = []

    def loss(candidate: Candidate) -> float:
        wanted = zip(candidate, (56, 72, 2, 2), (64, 96, 2, 3), strict=False)
        return sum(((value - best) / own) ** 2 for value, best, own in wanted)

    def losses(candidates: Sequence[Candidate], rung: int) -> list[float]:
        measured.extend((candidate, rung) for candidate in candidates)
        return [loss(candidate) for candidate in candidates]

    start = start_of(pool, axes.dense, amount.start)
    chosen = search(start, axes, predictor.predict, needs, losses, amount, 3)
    first = list(measured)
    assert all(holds(predictor.predict(candidate), needs) for candidate, _ in first)
    assert sum(2**rung for _, rung in first) <= work_units(amount)
    assert loss(chosen) == min(loss(candidate) for candidate, _ in first)
    measured.clear()
    assert search(start, axes, predictor.predict, needs, losses, amount, 3) == chosen
    assert measured == first


def test_the_best_single_axis_is_seen_on_the_last_rung(pico_llama_untied: Path) -> None:
    """Few windows speak for several axes, many for one: that one wins though it was behind before."""
    amount = AMOUNTS["standard"]
    axes, predictor = predictor_of(pico_llama_untied, Budget(params=0.6))
    needs = predictor.needs()
    pool = [Ranked(candidate=one, proxy=1.0) for one in spread(axes, predictor.predict, needs)]

    def moved(candidate: Candidate) -> int:
        return sum(new != old for new, old in zip(candidate, axes.dense, strict=True))

    def losses(candidates: Sequence[Candidate], rung: int) -> list[float]:
        sign = -1 if rung < len(amount.rungs) else 1
        return [sign * moved(candidate) for candidate in candidates]

    start = start_of(pool, axes.dense, amount.start)
    chosen = search(start, axes, predictor.predict, needs, losses, amount, 3)
    assert moved(chosen) == 1


def test_each_axis_alone_is_in_the_start() -> None:
    dense = (64, 96, 2, 3, 0)
    pool = [
        Ranked(candidate=one, proxy=proxy)
        for one, proxy in [
            ((64, 40, 2, 3, 0), 9.0),
            ((32, 96, 2, 3, 0), 8.0),
            ((56, 80, 2, 3, 0), 1.0),
            ((56, 72, 2, 3, 0), 0.5),
        ]
    ]
    assert start_of(pool, dense, 3) == [(32, 96, 2, 3, 0), (64, 40, 2, 3, 0), (56, 72, 2, 3, 0)]


def test_results_survive_and_belong_to_one_search(tmp_path: Path) -> None:
    file = state_path(tmp_path / "plan.json")
    result = Measured(perplexity_ratio=1.5, kl_nats_per_token=0.5, windows=2, seconds=1.0)
    SearchState.open(file, "a").put((1, 2), 0, result)
    assert SearchState.open(file, "a").get((1, 2), 0) == result
    assert SearchState.open(file, "a").get((1, 2), 1) is None
    assert SearchState.open(file, "b").get((1, 2), 0) is None
    file.write_text(file.read_text()[:-9])
    assert SearchState.open(file, "a").results == {}
    SearchState.open(file, "a").discard()
    assert list(tmp_path.iterdir()) == []


def test_a_width_is_spread_where_it_saves_most() -> None:
    """Two layers of one sublayer each, of four units; by the sizes of all ways to spread five units."""
    energies = (np.array([8.0, 4.0, 2.0, 1.0]), np.array([5.0, 5.0, 5.0, 5.0]))
    layers = [
        [LayerLosses(share, {"mlp": tail_shares(energy)})]
        for share, energy in zip((0.3, 0.1), energies, strict=True)
    ]
    observed = Observed(tail_shares(np.array([1.0])), np.array([0.1, 0.1]), layers)

    def loss(first: int, second: int) -> float:
        return float(0.3 * layers[0][0].tails["mlp"][first] + 0.1 * layers[1][0].tails["mlp"][second])

    first, second = spread_over_layers(observed, "mlp", (1, 2, 3, 4), 5)
    assert first + second == 5
    assert loss(first, second) == min(loss(one, 5 - one) for one in (1, 2, 3, 4))


def test_an_engine_that_takes_uneven_layers_is_a_row() -> None:
    assert uniformity_of("vllm", "llama").per_layer == frozenset()
    upstream = Uniformity(
        engine="vllm", family="llama", per_layer=frozenset({"mlp"}), reason="heads are read once"
    )
    assert uniformity_of("vllm", "llama", (*ROWS, upstream)) == upstream
    assert uniformity_of("vllm", "gemma", (*ROWS, upstream)) == ROWS[0]
