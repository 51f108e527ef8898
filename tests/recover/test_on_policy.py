"""A student that learns on what it writes itself, through TRL."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from dotresize.compress.weights.source import DenseModel, load_dense
from dotresize.errors import OptionError
from dotresize.recover.ask.config import RecoverConfig
from dotresize.recover.estimate import estimate
from dotresize.recover.run import Outcome, recover
from dotresize.recover.training.held_out import divergences

from .test_run import set_up, texts_of

OWN_TEXT: dict[str, Any] = {"on_policy": True, "learning_rate": 3e-3, "evaluations": 2, "batch_windows": 4}


@pytest.mark.parametrize("changes", [{}, {"train": "lora", "divergence": "forward"}])
def test_it_comes_nearer_to_the_teacher_and_is_a_stock_model_again(
    teacher: DenseModel, narrow: DenseModel, windows: Tensor, tmp_path: Path, changes: dict[str, object]
) -> None:
    config, names = narrow.model.config.to_dict(), set(narrow.model.state_dict())
    setup, texts = set_up(teacher, narrow, **OWN_TEXT, **changes), texts_of(windows)
    start = divergences(teacher.model, narrow.model, texts.held_out)
    found = estimate(setup, texts=1)
    assert found.step_seconds is not None
    assert found.step_seconds > 0
    outcome = recover(setup, texts, tmp_path, steps=10)
    end = divergences(teacher.model, outcome.model, texts.held_out)
    assert outcome.improved
    assert end["own"] < start["own"]
    assert outcome.model.config.to_dict() == config
    assert set(outcome.model.state_dict()) == names
    student: Any = outcome.model
    assert student.generate(torch.tensor([[5, 6]]), max_new_tokens=2).shape == (1, 4)
    assert [point.step for point in outcome.curve.points] == [0, 5, 10]
    assert all(point.loss is not None for point in outcome.curve.points[1:])


def test_an_interrupted_run_ends_where_the_whole_one_does(
    pico_llama: Path, narrow_directory: Path, windows: Tensor, tmp_path: Path
) -> None:
    """What the student writes is sampled, so the state of the generator has to come back, too."""

    def run(name: str, **more: Any) -> Outcome:
        (tmp_path / name).mkdir(exist_ok=True)
        models = load_dense(str(pico_llama)), load_dense(str(narrow_directory))
        setup = set_up(*models, **OWN_TEXT, save_minutes=0.0)
        return recover(setup, texts_of(windows), tmp_path / name, steps=4, **more)

    class Stop(Exception):
        pass

    def stop_late(line: str) -> None:
        if line.startswith("step 4:"):
            raise Stop

    whole = run("whole")
    with pytest.raises(Stop):
        run("parts", say=stop_late)
    resumed = run("parts")
    assert [point.step for point in resumed.curve.points] == [point.step for point in whole.curve.points]
    assert_close(resumed.model.state_dict(), whole.model.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"divergence": "reverse"}, "--divergence reverse has no effect without --on-policy"),
        ({"on_policy": True, "divergence": "backward"}, "choose one of forward, jensen-shannon, reverse"),
        ({"on_policy": True, "teacher_top_k": 4}, "--teacher-top-k has no effect with --on-policy"),
        ({"on_policy": True, "shard": True}, "--shard has no effect with --on-policy"),
    ],
)
def test_what_would_have_no_effect_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        RecoverConfig(text=("builtin",), tokens=100, **options)  # type: ignore[arg-type]


def test_without_trl_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from dotresize.recover.training import on_policy

    monkeypatch.setattr(on_policy, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"pip install 'dotresize\[recover\]'"):
        on_policy.check_trl()
