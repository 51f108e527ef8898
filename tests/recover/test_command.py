"""`dotresize recover` on picos: dry run, run, lineage, and what it refuses."""

import json
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close
from typer.testing import CliRunner

from dotresize.cli import app
from dotresize.compress.text.self_text import CACHE_FOLDER
from dotresize.compress.weights.source import load_dense
from dotresize.errors import DotresizeError, InputError, MissingDependencyError, OptionError, TextError
from dotresize.export.contract import manifest
from dotresize.export.disk.outputs import check_free
from dotresize.recover.ask.config import RecoverConfig

from ..text import TEXT


def recover(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["recover", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def options(output: Path, teacher: Path, *more: str) -> list[str | Path]:
    few = ["--window-tokens", "32", "--tokens", "2560", "--device", "cpu", "--dtype", "float32"]
    return ["--teacher", teacher, "-o", output, "--text", TEXT, *few, "--json", *more]


def test_a_recovered_checkpoint_has_lineage_and_a_dry_run_leaves_nothing(
    narrow_directory: Path, pico_llama: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    found = json.loads(recover(narrow_directory, *options(output, pico_llama, "--dry-run")).splitlines()[-1])
    assert found["estimate"]["steps"] == 10
    assert list(tmp_path.iterdir()) == []

    recover(narrow_directory, *options(output, pico_llama, "--learning-rate", "3e-3"))
    assert list(tmp_path.iterdir()) == [output]
    record, start = manifest.read(output), manifest.read(narrow_directory)
    assert record.recovery is not None
    assert record.recovery.parent_manifest_sha256 == start.sha256
    assert record.recovery.teacher_sha256 == load_dense(str(pico_llama)).source.sha256
    assert record.recovery.best_step > 0
    assert record.recovery.curve[0].score == 1.0
    assert record.report == start.report
    assert "## Recovery" in (output / "README.md").read_text(encoding="utf-8")
    assert (output / "config.json").read_bytes() == (narrow_directory / "config.json").read_bytes()


@pytest.mark.parametrize(
    ("more", "kind", "message"),
    [
        (["--minutes", "1"], OptionError, "either --tokens or --minutes"),
        (["--lora-rank", "4"], OptionError, "--lora-rank has no effect with --train all"),
        (["--train", "everything"], OptionError, "--train is 'everything'; choose one of all, lora"),
        (["--dtype", "fp8"], OptionError, "--dtype is 'fp8'; choose one of auto, float32, bfloat16"),
        (["--batch-windows", "3"], OptionError, "--batch-windows 3 is not a multiple of --micro-windows 2"),
        (["--text", "nowhere.txt"], TextError, "nowhere.txt is not a file"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_leaves_nothing(
    more: list[str],
    kind: type[DotresizeError],
    message: str,
    narrow_directory: Path,
    pico_llama: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(kind, match=message):
        recover(narrow_directory, *options(tmp_path / "out", pico_llama, *more))
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_holds_something_is_refused_first(
    narrow_directory: Path, pico_llama: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DotresizeError, match="already exists"):
        recover(narrow_directory, *options(tmp_path, pico_llama))


def test_no_text_and_odd_numbers_are_refused() -> None:
    with pytest.raises(OptionError, match="no text was given"):
        RecoverConfig(text=(), tokens=1)
    with pytest.raises(InputError, match="--learning-rate is nan"):
        RecoverConfig(text=("builtin",), tokens=1, learning_rate=float("nan"))


def test_text_of_the_teachers_own_is_written_once_and_has_a_share(
    narrow_directory: Path, pico_llama: Path, tmp_path: Path
) -> None:
    few = ["--text", "self=0.5", "--tokens", "512", "--batch-windows", "2", "--held-out-windows", "1"]
    recover(narrow_directory, *options(tmp_path / "first", pico_llama, *few))
    (kept,) = (tmp_path / CACHE_FOLDER).glob("self-*.json")
    written = kept.stat().st_mtime_ns
    recover(narrow_directory, *options(tmp_path / "second", pico_llama, *few))
    assert kept.stat().st_mtime_ns == written

    record = manifest.read(tmp_path / "first").recovery
    assert record is not None
    assert [(text.name, text.windows) for text in record.texts] == [(TEXT, 8), ("self", 8)]
    again = manifest.read(tmp_path / "second")
    assert again.recovery is not None
    assert [each.held_out_kl for each in again.recovery.curve] == [each.held_out_kl for each in record.curve]


def test_a_kept_adapter_on_the_start_is_the_recovered_model(
    narrow_directory: Path, pico_llama: Path, tmp_path: Path
) -> None:
    from peft import PeftModel

    output = tmp_path / "out"
    more = ["--train", "lora", "--keep-adapter", "--learning-rate", "3e-3", "--tokens", "1024"]
    recover(narrow_directory, *options(output, pico_llama, *more))
    start = load_dense(str(narrow_directory)).model
    settings = json.loads((output / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert settings["base_model_name_or_path"] == str(narrow_directory)
    assert load_dense(str(narrow_directory)).source.sha256 in (output / "adapter" / "README.md").read_text()
    token_ids = torch.arange(10, 30)[None]
    with torch.no_grad():
        plain = start(token_ids).logits
        adapted = PeftModel.from_pretrained(start, str(output / "adapter"))(token_ids).logits
        merged = load_dense(str(output)).model(token_ids).logits
    assert_close(adapted, merged, rtol=1e-4, atol=1e-5)  # float32, added before or after the product
    assert not torch.allclose(adapted, plain, rtol=1e-4, atol=1e-5)


def test_the_course_is_drawn_and_written_for_tensorboard(
    narrow_directory: Path, pico_llama: Path, tmp_path: Path
) -> None:
    few = options(tmp_path / "out", pico_llama, "--tokens", "512", "--evaluations", "1")
    board = ["--tensorboard", str(tmp_path / "board")]
    if find_spec("tensorboard") is None:
        with pytest.raises(MissingDependencyError, match="--tensorboard needs TensorBoard"):
            recover(narrow_directory, *few, *board)
        recover(narrow_directory, *few)
    else:
        recover(narrow_directory, *few, *board)
        assert list((tmp_path / "board").iterdir())
    picture = (tmp_path / "out" / "recovery.svg").read_text(encoding="utf-8")
    assert "<svg" in picture
    assert "nats per token" in picture
    assert "(recovery.svg)" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    check_free(tmp_path / "out", force=True)  # what a recovery wrote may be replaced by its repetition


def test_a_killed_run_goes_on_to_the_same_bytes(
    narrow_directory: Path, pico_llama: Path, tmp_path: Path
) -> None:
    more = ["--save-minutes", "0", "--evaluations", "10", "--patience", "10", "--learning-rate", "3e-3"]
    recover(narrow_directory, *options(tmp_path / "whole", pico_llama, *more))
    arguments = ["recover", narrow_directory, *options(tmp_path / "parts", pico_llama, *more)]
    command = [sys.executable, "-m", "dotresize", *map(str, arguments)]
    said = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if line.startswith("step 5:"):
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL, said
    assert not (tmp_path / "parts").exists()
    (states,) = tmp_path.glob(".parts.*/run-*/trainer")
    (states / "checkpoint-9").mkdir()  # as one that was killed while it was written
    (states / "checkpoint-9" / "optimizer.pt").touch()
    recover(*arguments[1:])
    whole, parts = manifest.read(tmp_path / "whole"), manifest.read(tmp_path / "parts")
    assert parts.files == whole.files  # hashes of the weights
    assert parts.recovery is not None
    assert whole.recovery is not None
    assert [point.step for point in parts.recovery.curve] == [point.step for point in whole.recovery.curve]
