"""Adapters in closed form. Oracles: the full fit, the truncated SVD, PEFT's own reading of the files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from typer.testing import CliRunner

from dotresize.cli import app
from dotresize.compress.maths.fit import Sums, add_rows, empty_sums, relative_error, ridge_solve
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.compress.weights.source import load_dense
from dotresize.errors import DotresizeError, InputError, OptionError
from dotresize.export.artefact_info import inspect_artefact
from dotresize.export.checkpoint.dense import save_dense
from dotresize.export.checkpoint.write import save
from dotresize.export.contract import manifest
from dotresize.export.disk.staging import check_free
from dotresize.export.for_vllm.to_vllm import VllmConfig, export_vllm
from dotresize.export.proof.verify import verify
from dotresize.recover.losses.low_rank import low_rank_solve

from ..text import TEXT

FEW = ["--calibration", TEXT, "--calibration-windows", "40", "--window-tokens", "64", "--json"]


def sums_of(inputs: Tensor, outputs: Tensor) -> Sums:
    sums = empty_sums(inputs.shape[1], outputs.shape[1], torch.device("cpu"))
    add_rows(sums, inputs, outputs)
    return sums


def problem() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(8, 8, generator=generator, dtype=torch.float64)
    inputs = torch.randn(200, 8, generator=generator, dtype=torch.float64) @ mixed
    return inputs, torch.randn(200, 6, generator=generator, dtype=torch.float64) + inputs[:, :6]


def test_with_every_rank_it_is_the_full_fit_and_ranks_beyond_are_zero() -> None:
    sums = sums_of(*problem())
    found = low_rank_solve(sums, 9, 0.1)
    assert (found.down.shape, found.up.shape) == ((9, 8), (6, 9))
    assert_close(found.weight.T, ridge_solve(sums, torch.zeros(8, 6), 0.1), rtol=1e-8, atol=1e-10)
    assert not found.down[6:].any()


def test_for_inputs_that_do_not_go_together_it_is_the_truncated_matrix() -> None:
    full = problem()[1][:8].float().double()  # any (8, 6)
    sums = Sums(torch.eye(8).double() * 50, full * 50, (full * full).sum() * 50)
    left, sizes, right = torch.linalg.svd(full, full_matrices=False)
    expected = left[:, :2] * sizes[:2] @ right[:2]
    assert_close(low_rank_solve(sums, 2, 0.0).weight.T, expected, rtol=1e-8, atol=1e-8)


def test_it_errs_less_than_the_truncation_of_the_full_fit() -> None:
    sums = sums_of(*problem())
    left, sizes, right = torch.linalg.svd(ridge_solve(sums, torch.zeros(8, 6), 0.0), full_matrices=False)
    truncated = left[:, :2] * sizes[:2] @ right[:2]
    errors = [relative_error(sums, each) for each in (low_rank_solve(sums, 2, 0.0).weight.T, truncated)]
    assert errors[0] < errors[1]


def adapter(*arguments: str | Path) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["adapter", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def test_peft_loads_what_repairs_a_narrow_model(
    narrow_directory: Path, pico_llama: Path, windows: Tensor, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    done = adapter(narrow_directory, "--teacher", pico_llama, "-o", tmp_path / "a", "--rank", "8", *FEW)
    assert done["held_out_kl"] < 0.95 * done["held_out_kl_before"]
    assert done["matrices"] == 3 * (3 + 2)  # q, k, v; o and down: the rows of gate and up are others
    record = manifest.read(tmp_path / "a")
    assert record.source is not None
    assert record.source.manifest_sha256 == manifest.read(narrow_directory).sha256
    assert record.adaptation is not None
    assert record.adaptation.teacher_sha256 == load_dense(str(pico_llama)).source.sha256
    dense, base = (load_dense(str(each)).model.float() for each in (pico_llama, narrow_directory))
    wanted = dense(windows).logits.log_softmax(-1)
    before = base(windows).logits.log_softmax(-1)
    after = peft.PeftModel.from_pretrained(base, tmp_path / "a")(windows).logits.log_softmax(-1)
    losses = [float((wanted.exp() * (wanted - each)).sum(-1).mean().detach()) for each in (before, after)]
    assert losses[1] < 0.95 * losses[0]


def test_a_quantised_export_gets_most_of_it_back(pico_llama: Path, tmp_path: Path) -> None:
    pytest.importorskip("compressed_tensors")
    pytest.importorskip("peft")
    save_dense(load_dense(str(pico_llama)), tmp_path / "dense")
    (tmp_path / "dense" / "LICENSE").write_text("of the pico model")
    export_vllm(tmp_path / "dense", tmp_path / "few-bits", VllmConfig(quantize="w4a16"))
    done = adapter(tmp_path / "few-bits", "--teacher", pico_llama, "-o", tmp_path / "a", "--rank", "16", *FEW)
    assert (tmp_path / "a" / "LICENSE").read_text() == "of the pico model"
    check_free(tmp_path / "a", force=True)  # a licence is in the way of no repetition
    assert done["matrices"] == 3 * 7
    assert done["held_out_kl"] < 0.5 * done["held_out_kl_before"]
    assert inspect_artefact(tmp_path / "a").architecture == "LoRA of rank 16 for few-bits"
    with pytest.raises(OptionError, match="holds an adapter, which is verified with the model"):
        verify(tmp_path / "a")


@pytest.mark.parametrize(
    ("more", "kind", "message"),
    [
        (["--rank", "0"], OptionError, "--rank is 0; it must be at least 1"),
        (["--calibration-windows", "1"], OptionError, "so give at least 2"),
        (["--calibration", "nowhere.txt"], DotresizeError, "nowhere.txt is not a file"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    narrow_directory: Path,
    pico_llama: Path,
    tmp_path: Path,
    more: list[str],
    kind: type[Exception],
    message: str,
) -> None:
    words = ["adapter", narrow_directory, "--teacher", pico_llama, "-o", tmp_path / "a", *more]
    found = CliRunner().invoke(app, [str(word) for word in words]).exception
    assert isinstance(found, kind), found
    assert message in str(found)
    assert list(tmp_path.iterdir()) == []


def test_models_of_another_depth_are_refused(pico_llama: Path, tmp_path: Path) -> None:
    config = CompressConfig(layers=2, calibration=TEXT, calibration_windows=2, window_tokens=64)
    save(compress(str(pico_llama), config), tmp_path / "shallow")
    with pytest.raises(InputError, match="has 2 layers and .* has 3; an adapter is fitted layer by layer"):
        adapter(tmp_path / "shallow", "--teacher", pico_llama, "-o", tmp_path / "a", *FEW)
