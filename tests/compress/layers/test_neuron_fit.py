"""The step on a real gated MLP of transformers: it lowers the error, or leaves everything as it was."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from dotresize.compress.layers.job import Job
from dotresize.compress.layers.neuron_fit import Row, step_gate_and_up
from dotresize.compress.streams.activations import Branch, branches_of
from dotresize.compress.streams.ranks import Ranks
from dotresize.compress.weights.source import DenseModel, load_dense


@pytest.fixture
def dense(pico_llama: Path) -> DenseModel:
    return load_dense(str(pico_llama))


@pytest.fixture
def mlp(dense: DenseModel) -> Branch:
    layer = next(iter(dense.model.get_submodule(dense.family.layers).children()))
    return branches_of(layer.requires_grad_(False), dense.family, dense.model.config, [{}, {}])[1]


def job_of(dtype: torch.dtype = torch.float32) -> Job:
    """What a step reads."""
    return cast(Job, SimpleNamespace(device=torch.device("cpu"), stored_dtype=dtype, ranks=Ranks()))


def _rows(stream: Tensor, lacking: Tensor) -> Callable[..., Iterator[Row]]:
    def rows(every: int = 1) -> Iterator[Row]:
        for number, batch in list(enumerate(range(0, len(stream), 2)))[::every]:
            part = lacking[batch : batch + 2].flatten(0, -2)
            yield Row(stream[batch : batch + 2], part, torch.ones(len(part)), number)

    return rows


def _weights(mlp: Branch) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in mlp.core.state_dict().items()}


def test_a_step_lowers_the_error_and_touches_gate_and_up_only(mlp: Branch) -> None:
    torch.manual_seed(0)
    width = cast(Any, mlp.sites.norm).weight.shape[0]
    stream = torch.randn(8, 50, width)
    wanted = mlp.forward(stream)
    for name in ("gate_proj", "up_proj"):  # so the wanted output is another MLP's
        weight = mlp.core.get_submodule(name).get_parameter("weight")
        weight.data = weight + 0.3 * weight.std() * torch.randn_like(weight)
    old = _weights(mlp)
    before, after = step_gate_and_up(job_of(), mlp, _rows(stream, wanted))
    assert after < 0.9 * before
    assert torch.equal(mlp.core.get_submodule("down_proj").get_parameter("weight"), old["down_proj.weight"])
    assert not torch.equal(mlp.core.get_submodule("up_proj").get_parameter("weight"), old["up_proj.weight"])
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_step_that_cannot_help_changes_nothing(mlp: Branch) -> None:
    torch.manual_seed(0)
    stream = torch.randn(8, 50, cast(Any, mlp.sites.norm).weight.shape[0])
    old = _weights(mlp)
    before, after = step_gate_and_up(job_of(), mlp, _rows(stream, mlp.forward(stream)))
    assert before == after < 1e-10
    for name, weight in mlp.core.state_dict().items():
        assert torch.equal(weight, old[name]), name


def test_a_step_that_overflows_the_stored_dtype_is_undone(mlp: Branch) -> None:
    torch.manual_seed(0)
    stream = torch.randn(8, 50, cast(Any, mlp.sites.norm).weight.shape[0])
    old = _weights(mlp)
    before, after = step_gate_and_up(job_of(torch.float16), mlp, _rows(stream, 1e9 * mlp.forward(stream)))
    assert before == after > 0.5  # so there was something to gain
    for name, weight in mlp.core.state_dict().items():
        assert torch.equal(weight, old[name]), name
