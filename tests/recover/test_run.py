"""Training on picos: it gets nearer to the teacher, never ends worse than it began, and resumes."""

import signal
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from dotresize.compress.record.progress import Silent
from dotresize.compress.weights.source import DenseModel, load_dense
from dotresize.errors import InputError, OptionError, TextError
from dotresize.recover.ask.batches import Source, Texts, WindowSet, read_texts
from dotresize.recover.ask.config import RecoverConfig
from dotresize.recover.estimate import estimate
from dotresize.recover.models.teacher import keep_top_k, projection
from dotresize.recover.models.trainable import gain_rate
from dotresize.recover.run import Outcome, recover
from dotresize.recover.training.held_out import divergences
from dotresize.recover.training.setup import Setup, prepare
from dotresize.recover.training.train import training_arguments

CONFIG = RecoverConfig(
    text=("own",),
    tokens=20 * 8 * 32,
    window_tokens=32,
    learning_rate=3e-3,
    evaluations=4,
    precision="float32",
    device="cpu",
)


@pytest.mark.parametrize("train", ["all", "layers", "lora", "norms", "readers", "writers"])
def test_what_is_trained_moves_towards_the_teacher_and_the_rest_stays(
    train: str, teacher: DenseModel, narrow: DenseModel, windows: Tensor, tmp_path: Path
) -> None:
    texts = texts_of(windows)
    before = {name: value.clone() for name, value in narrow.model.state_dict().items()}
    setup = set_up(teacher, narrow, train=train)
    start = divergences(teacher.model, setup.student, texts.held_out)
    outcome = recover(setup, texts, tmp_path, steps=20)
    end = divergences(teacher.model, outcome.model, texts.held_out)
    assert outcome.improved
    assert end["own"] < start["own"]
    assert end["own"] == pytest.approx(outcome.curve.best.held_out_kl["own"], rel=1e-3)
    after = outcome.model.state_dict()
    assert set(after) == set(before)  # a stock checkpoint again, also after an adapter
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    kinds = {"layers": "layers.", "norms": "norm", "readers": "_proj", "writers": ("o_proj", "down_proj")}
    if train in kinds:
        expected = kinds[train]
        assert all(
            any(part in name for part in ([expected] if isinstance(expected, str) else expected))
            for name in moved
        )
    assert moved


def texts_of(windows: Tensor) -> Texts:
    return read_texts([Source("own", 1.0, windows)], CONFIG, needed=None)


def set_up(teacher: DenseModel, narrow: DenseModel, **changes: object) -> Setup:
    start = deepcopy(narrow.model)
    config = replace(CONFIG, **changes)  # type: ignore[arg-type]
    return prepare(narrow, teacher, config, fresh=lambda: start)


def test_a_run_that_only_does_harm_gives_back_the_start(
    teacher: DenseModel, narrow: DenseModel, windows: Tensor, tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in narrow.model.state_dict().items()}
    outcome = recover(
        set_up(teacher, narrow, learning_rate=1.0, patience=2), texts_of(windows), tmp_path, steps=12
    )
    assert not outcome.improved
    assert outcome.stopped_by == "patience"
    assert_close(outcome.model.state_dict(), before, rtol=0, atol=0)


def test_an_interrupted_run_ends_where_the_whole_one_does(
    pico_llama: Path, narrow_directory: Path, windows: Tensor, tmp_path: Path
) -> None:
    def run(name: str, **more: Any) -> Outcome:
        (tmp_path / name).mkdir(exist_ok=True)
        models = load_dense(str(pico_llama)), load_dense(str(narrow_directory))
        setup = set_up(*models, save_minutes=0.0)
        return recover(setup, texts_of(windows), tmp_path / name, steps=8, **more)

    whole = run("whole")

    class Stop(Exception):
        pass

    def stop_late(line: str) -> None:
        if line.startswith("step 6:"):
            raise Stop  # as a kill would: after the save of an earlier step, in the middle of another

    with pytest.raises(Stop):
        run("parts", say=stop_late)
    resumed = run("parts")
    assert [point.step for point in resumed.curve.points] == [point.step for point in whole.curve.points]
    assert_close(resumed.model.state_dict(), whole.model.state_dict(), rtol=0, atol=0)


def test_the_teachers_kept_tokens_teach_too(
    teacher: DenseModel, narrow: DenseModel, windows: Tensor, tmp_path: Path
) -> None:
    texts = texts_of(windows)
    kept = keep_top_k(teacher.model, texts.train, 64, tmp_path / "teacher.safetensors", Silent())
    assert kept.log_probabilities.shape == (*texts.train.shape, 64)
    setup = set_up(teacher, narrow, teacher_top_k=64)
    assert estimate(setup, texts=1).steps == 20
    assert recover(setup, texts, tmp_path, steps=12).improved
    assert setup.teacher is None


def test_the_stream_is_compared_through_the_basis(
    teacher: DenseModel, narrow: DenseModel, windows: Tensor, tmp_path: Path
) -> None:
    found = projection(teacher.model, narrow.model)
    dense = teacher.model.get_input_embeddings().get_parameter("weight")
    # float32 embeddings of order 0.1, 384 rows
    assert_close(
        dense @ found, narrow.model.get_input_embeddings().get_parameter("weight"), rtol=1e-3, atol=1e-5
    )
    assert recover(set_up(teacher, narrow, stream_weight=0.5), texts_of(windows), tmp_path, steps=12).improved
    with torch.no_grad():
        dense.copy_(torch.randn(dense.shape, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(InputError, match="not related by one matrix"):
        projection(teacher.model, narrow.model)


def test_the_estimate_changes_nothing(teacher: DenseModel, narrow: DenseModel) -> None:
    setup = set_up(teacher, narrow)
    before = {name: value.clone() for name, value in setup.student.state_dict().items()}
    found = estimate(setup, texts=1)
    assert found.steps == 20
    assert found.tokens == CONFIG.tokens
    assert found.step_seconds is not None
    assert found.step_seconds > 0
    assert_close(setup.student.state_dict(), before, rtol=0, atol=0)
    assert all(each.grad is None for each in setup.student.parameters())


def test_a_batch_that_does_not_divide_over_the_processes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="does not divide over 3 processes.*take a multiple of 6"):
        training_arguments(CONFIG, tmp_path, steps=1, processes=3)


def test_sigterm_means_afterwards_what_it_meant_before(
    teacher: DenseModel, narrow: DenseModel, windows: Tensor, tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    recover(set_up(teacher, narrow), texts_of(windows), tmp_path, steps=1)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_text_too_short_is_refused(windows: Tensor) -> None:
    with pytest.raises(TextError, match="own holds 11 windows of 32 tokens; expected at least 4 to hold out"):
        read_texts([Source("own", 1.0, windows[:11])], CONFIG, needed=None)


def test_gains_learn_at_their_own_rate_beside_matrices(
    teacher: DenseModel, narrow: DenseModel, windows: Tensor, tmp_path: Path
) -> None:
    setup = set_up(teacher, narrow, train="layers", learning_rate=1e-5)
    distiller = setup.distiller(tmp_path, steps=4, kept=None, train_dataset=WindowSet(windows))
    rates = {
        parameter.ndim: group["lr"]
        for group in distiller.create_optimizer().param_groups
        for parameter in group["params"]
    }
    assert rates == {1: 1e-3, 2: 1e-5}
    assert gain_rate("layers", 3e-3) == 3e-3
    assert gain_rate("layers", 1e-7) == pytest.approx(1e-5)
    assert gain_rate("readers", 1e-5) == 1e-5
