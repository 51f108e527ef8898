"""Training on real sublayers of transformers: towards another sublayer's output, which it then nears."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from dotresize.compress.families.call_arguments import call_arguments
from dotresize.compress.layers.job import Job, Streams, held_last
from dotresize.compress.layers.local_training import rate_at, train_sublayer
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.record.progress import Silent
from dotresize.compress.streams.activations import Branch, branches_of
from dotresize.compress.streams.ranks import Ranks
from dotresize.compress.streams.stream import Stream
from dotresize.compress.weights.source import load_dense
from dotresize.errors import TextError

WINDOWS, TOKENS, HELD = 12, 64, 3


class Counter(Silent):
    """Adds up what was reported."""

    def __init__(self) -> None:
        self.units = 0

    def advance(self, units: int = 1) -> None:
        self.units += units


def job_of(dtype: torch.dtype = torch.float32) -> Job:
    """What training reads of a job, for a stream that keeps its basis."""
    parts = {"device": torch.device("cpu"), "stored_dtype": dtype, "epsilon": 1e-5, "progress": Counter()}
    parts["ranks"] = Ranks()
    return cast(Job, SimpleNamespace(projected=lambda dense: dense, **parts))


@pytest.fixture
def branches(pico_llama: Path) -> list[Branch]:
    dense = load_dense(str(pico_llama))
    layer = next(iter(dense.model.get_submodule(dense.family.layers).children())).requires_grad_(False)
    arguments = call_arguments(dense.model, dense.family, TOKENS, torch.device("cpu"))[0]
    return branches_of(layer, dense.family, dense.model.config, arguments)


def disturbed(branch: Branch) -> Streams:
    """Streams around a branch, whose matrices are no longer those that made the dense one."""
    torch.manual_seed(0)
    narrow = torch.randn(WINDOWS, TOKENS, cast(Any, branch.sites.norm).weight.shape[0])
    dense = narrow + branch.forward(narrow)
    for site in branch.sublayer.sites:
        weight = branch.sites.read(site).weight
        weight += 0.2 * weight.std() * torch.randn_like(weight)
    return Streams(Stream(dense), Stream(narrow), HELD)


def weights(branch: Branch) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in branch.core.state_dict().items()}


@pytest.mark.parametrize("number", [0, 1])
@torch.no_grad()
def test_training_lowers_the_error_on_windows_it_has_not_seen(branches: list[Branch], number: int) -> None:
    branch, job = branches[number], job_of()
    streams = disturbed(branch)
    old = weights(branch)
    before, after = train_sublayer(job, branch, streams, epochs=100, seed=1)
    assert after < 0.8 * before
    for name, weight in branch.core.state_dict().items():
        assert not torch.equal(weight, old[name]), name
        assert not branch.core.get_parameter(name).requires_grad
    assert cast(Counter, job.progress).units == 100 * WINDOWS
    assert torch.get_float32_matmul_precision() == "highest"


@torch.no_grad()
def test_training_that_cannot_help_changes_nothing(branches: list[Branch]) -> None:
    branch, job = branches[1], job_of()
    torch.manual_seed(0)
    narrow = torch.randn(WINDOWS, TOKENS, cast(Any, branch.sites.norm).weight.shape[0])
    streams = Streams(Stream(narrow + branch.forward(narrow)), Stream(narrow), HELD)
    old = weights(branch)
    before, after = train_sublayer(job, branch, streams, epochs=5, seed=1)
    assert before == after < 1e-10
    for name, weight in branch.core.state_dict().items():
        assert torch.equal(weight, old[name]), name
    assert cast(Counter, job.progress).units == 5 * WINDOWS  # the epochs that were left out count as done


@torch.no_grad()
def test_held_windows_are_never_trained_on(branches: list[Branch]) -> None:
    branch = branches[1]
    streams = disturbed(branch)
    start = weights(branch)
    train_sublayer(job_of(), branch, streams, epochs=1, seed=1)
    first = weights(branch)
    branch.core.load_state_dict(start)
    assert streams.narrow is not None
    streams.narrow.values[-HELD:] *= 0.9  # still like the others, so that the epoch is kept
    train_sublayer(job_of(), branch, streams, epochs=1, seed=1)
    for name, weight in branch.core.state_dict().items():
        assert torch.equal(weight, first[name]), name


@torch.no_grad()
def test_trained_matrices_can_be_stored(branches: list[Branch]) -> None:
    branch = branches[1]
    train_sublayer(job_of(torch.bfloat16), branch, disturbed(branch), epochs=3, seed=1)
    for site in branch.sublayer.sites:
        weight = branch.sites.read(site).weight
        assert torch.equal(weight, weight.bfloat16().float()), site.path


def test_the_prior_counts_as_tokens_and_as_a_share() -> None:
    config = CompressConfig(width=0.5, ridge_tokens=1000.0, ridge_share=0.2)
    job = cast(Job, SimpleNamespace(config=config))
    assert Job.ridge(job, 500) == pytest.approx(2.2)
    assert Job.ridge(job, 1_000_000) == pytest.approx(0.201)


def test_the_rate_climbs_and_falls_to_zero() -> None:
    rates = [rate_at(step, 200) for step in range(200)]
    assert rates[0] < rates[10] < rates[20]
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert 0 < rates[-1] < 0.01


@pytest.mark.parametrize(("windows", "held"), [(16, 1), (40, 2), (5, 4), (6, 0)])
def test_held_windows_are_spread_and_come_last(windows: int, held: int) -> None:
    ids = torch.arange(windows)[:, None]
    order = held_last(ids, held)[:, 0].tolist()
    assert sorted(order) == list(range(windows))
    assert order[: windows - held] == sorted(order[: windows - held])
    if held == 2:
        assert order[-2:] == [10, 30]


def test_all_windows_cannot_be_held() -> None:
    with pytest.raises(TextError, match="holds 1 window, and effort thorough keeps 1"):
        held_last(torch.zeros(1, 4), 1)
