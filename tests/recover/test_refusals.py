"""What goes wrong in a recovery, by real causes: it is said in one line, with what helps."""

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import torch
from torch import Tensor

from dotresize.compress.weights.source import DenseModel
from dotresize.errors import ConvergenceError, InputError, OptionError
from dotresize.export.contract import manifest
from dotresize.recover.estimate import estimate
from dotresize.recover.run import recover
from dotresize.recover.training.setup import prepare

from .test_command import options
from .test_command import recover as recover_command
from .test_run import CONFIG, set_up, texts_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def test_a_teacher_of_another_vocabulary_is_refused(
    teacher: DenseModel, narrow: DenseModel, pico_tokenizer: "PreTrainedTokenizerFast"
) -> None:
    from copy import deepcopy

    other = deepcopy(pico_tokenizer)
    other.add_tokens(["a token of its own"])
    with pytest.raises(InputError, match="has another vocabulary than .* so it cannot teach it"):
        prepare(narrow, replace(teacher, tokenizer=other), CONFIG, fresh=lambda: narrow.model)


def test_a_start_without_lineage_is_recovered_and_that_is_said(
    narrow_directory: Path, pico_llama: Path, tmp_path: Path
) -> None:
    start = shutil.copytree(narrow_directory, tmp_path / "start")
    (start / manifest.MANIFEST_NAME).unlink()
    recover_command(start, *options(tmp_path / "out", pico_llama, "--tokens", "512", "--evaluations", "1"))
    record = manifest.read(tmp_path / "out")
    assert record.report is None
    assert record.recovery is not None
    assert record.recovery.parent_manifest_sha256 is None


def test_a_loss_that_is_not_finite_stops_with_one_line(
    teacher: DenseModel, narrow: DenseModel, windows: Tensor, tmp_path: Path
) -> None:
    with torch.no_grad():
        narrow.model.get_parameter("model.norm.weight").fill_(float("inf"))
    with pytest.raises(ConvergenceError, match="the loss is .* at step 0; try a lower --learning-rate"):
        recover(set_up(teacher, narrow), texts_of(windows), tmp_path, steps=4)


def test_the_best_state_before_a_loss_that_is_not_finite_is_kept(
    teacher: DenseModel, narrow: DenseModel, windows: Tensor, tmp_path: Path
) -> None:
    setup, said = set_up(teacher, narrow, evaluations=8, patience=8), []

    def spoil(line: str) -> None:
        said.append(line)
        if line.startswith("step 4:"):
            with torch.no_grad():
                setup.student.get_parameter("model.norm.weight").fill_(float("inf"))

    outcome = recover(setup, texts_of(windows), tmp_path, steps=8, say=spoil)
    assert outcome.stopped_by == "loss not finite"
    assert outcome.improved
    assert all(bool(value.isfinite().all()) for value in outcome.model.state_dict().values())
    assert "the best state so far, of step" in said[-1]


@contextmanager
def little_memory(megabytes: int) -> Iterator[None]:
    """Let this process have only so much more address space."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(
        resource.RLIMIT_AS, (psutil.Process().memory_info().vms + megabytes * 2**20, before[1])
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_memory_that_runs_out_names_the_setting(teacher: DenseModel, narrow: DenseModel) -> None:
    setup = set_up(teacher, narrow, batch_windows=2**16, micro_windows=2**16)  # half a gigabyte a tensor
    with pytest.raises(OptionError, match="memory ran out with --micro-windows 65536"), little_memory(400):
        estimate(setup, texts=1)
