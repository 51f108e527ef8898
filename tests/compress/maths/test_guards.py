"""Activations that overflow, and matrices that have no factor, end in errors that say where."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dotresize.compress.maths.fit import Sums, ridge_solve
from dotresize.compress.maths.gauss_newton import StepSums, directions
from dotresize.compress.maths.guards import check_finite
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.errors import ConvergenceError

from ...text import TEXT

QUICK = CompressConfig(
    mlp_width=0.75,
    calibration=TEXT,
    calibration_windows=2,
    window_tokens=64,
)


@pytest.fixture
def overflowing(pico_llama: Path, tmp_path: Path) -> Path:
    """Finite weights whose product is not: layer 1 writes more than float32 holds."""
    directory = tmp_path / "overflowing"
    shutil.copytree(pico_llama, directory)
    tensors = load_file(directory / "model.safetensors")
    for name in ("gate_proj", "up_proj", "down_proj"):
        tensors[f"model.layers.1.mlp.{name}.weight"] *= 1e25
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


@pytest.mark.parametrize(
    "config",
    [
        QUICK,
        replace(QUICK, compensate="none"),
        replace(QUICK, mlp_method="dot"),
        replace(QUICK, mlp_width=None, width=0.75),
        replace(QUICK, mlp_width=None, width=0.75, compensate="none"),
    ],
)
def test_activations_that_overflow_name_their_layer(overflowing: Path, config: CompressConfig) -> None:
    with pytest.raises(ConvergenceError, match="activations at layer 1, .*mlp.* are not finite"):
        compress(str(overflowing), config)


def test_a_fit_whose_error_overflows_is_refused(pico_llama: Path, tmp_path: Path) -> None:
    shutil.copytree(pico_llama, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.0.self_attn.o_proj.weight"][0, 0] = 1e30
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ConvergenceError, match="at layer .* are not finite"):
        compress(str(tmp_path / "model"), replace(QUICK, mlp_width=0.5, mlp_method="dot", window_tokens=32))


def test_sums_are_looked_at() -> None:
    check_finite("here", torch.ones(3), torch.zeros(2, 2).numpy())
    with pytest.raises(ConvergenceError, match=r"at layer 3, mlp.readout are not finite \(1 of 3 values"):
        check_finite("layer 3, mlp.readout", torch.tensor([1.0, float("inf"), 2.0]))


def test_a_factorisation_that_gives_up_says_what_to_try() -> None:
    """No sum of squares has a negative eigenvalue; a ridge of a fifth of the mean does not mend this one."""
    gram = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    sums = Sums(gram, torch.zeros(3, 2, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
    with pytest.raises(ConvergenceError, match="second moment of a fit's inputs.*higher --ridge-tokens"):
        ridge_solve(sums, torch.zeros(3, 2), 0.2)
    negative = -torch.eye(3)
    steps = StepSums(negative, (torch.ones(2, 3),) * 2, (torch.eye(2),) * 2)
    with pytest.raises(ConvergenceError, match="curvature of a neuron fit could not be factorised"):
        directions(steps, torch.ones(3, 2), 0.3)
