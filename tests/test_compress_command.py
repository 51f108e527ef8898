"""`dotresize compress` in this process: what is refused before work, and what stays when measuring fails."""

import hashlib
import io
import json
import os
import resource
import shlex
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import CliRunner

from dotresize.cli import app
from dotresize.cli.narrowing.check import CompressRun
from dotresize.cli.narrowing.run import run_compress
from dotresize.compress.output.resume import WorkDirectory, work_path
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.compress.weights.source import load_dense
from dotresize.errors import DotresizeError, OptionError, OutputError, TextError, WidthError
from dotresize.export.checkpoint.write import record_quality, save
from dotresize.export.contract import manifest

from .fork_end import leave_with
from .text import TEXT

CONFIG = CompressConfig(mlp_width=0.75, calibration=TEXT, calibration_windows=2, window_tokens=64)


def run(model: Path, output: Path, config: CompressConfig = CONFIG, **options: Any) -> None:
    chosen: dict[str, Any] = {"evaluation": "none"} | options
    if isinstance(chosen["evaluation"], str):
        chosen["evaluation"] = (chosen["evaluation"],)
    run_compress(CompressRun(model=str(model), output=output, config=config, **chosen, as_json=True))


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def fingerprint(directory: Path) -> dict[str, str]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture
def model(pico_llama: Path, tmp_path: Path) -> Path:
    shutil.copytree(pico_llama, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(
    "output", ["model", "model/out", ".", "model/../model", "link", "link/out", "model.partial"]
)
@pytest.mark.parametrize("force", [True, False])
def test_the_source_is_never_touched(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, force: bool
) -> None:
    """`model.partial` is a user's directory of that name: it was taken for a work directory once."""
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("model")
    source = model
    if output == "model.partial":
        source = model.rename(tmp_path / output)
        (source / "dotresize.json").write_text("{}")
    before = fingerprint(source)
    with pytest.raises(OutputError):
        run(source, Path(output), force=force)
    assert fingerprint(source) == before


def test_a_users_directory_beside_the_output_stays(model: Path, tmp_path: Path) -> None:
    beside = tmp_path / "out.partial"
    beside.mkdir()
    (beside / "thesis").write_text("years")
    run(beside.parent / "model", tmp_path / "out")
    assert (beside / "thesis").read_text() == "years"
    assert names(tmp_path) == {"model", "out", "out.partial"}


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"evaluation": "typo.txt"}, TextError, "typo.txt is not a file"),
        (
            {"evaluation": "builtin", "evaluation_windows": 0},
            OptionError,
            "--evaluation-windows is 0; it must",
        ),
        ({"evaluation": "builtin", "evaluation_windows": -5}, OptionError, "--evaluation-windows is -5"),
        ({"evaluation_windows": 9}, OptionError, "--evaluation-windows has no effect with --evaluation none"),
    ],
)
def test_the_evaluation_is_checked_before_any_weight_is_read(
    model: Path, tmp_path: Path, options: dict[str, Any], kind: type[DotresizeError], message: str
) -> None:
    change = load_file(model / "model.safetensors")
    change["model.norm.weight"] *= float("nan")  # whoever reads the weights says so
    save_file(change, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(kind, match=message):
        run(model, tmp_path / "out", **options)
    assert names(tmp_path) == {"model"}


def test_it_is_saved_before_it_is_measured(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Measuring fails here because the folder of the output may not be changed any more."""
    out = tmp_path / "out"
    (model / "LICENSE").write_text("ours")
    run(model, out, evaluation="builtin", evaluation_windows=2)
    assert (out / "LICENSE").read_text() == "ours"
    quality = json.loads(capsys.readouterr().out.splitlines()[-1])["quality"]
    assert manifest.read(out).quality == quality
    assert "Not measured" not in (out / "README.md").read_text()
    shown = ModelCard.load(out / "README.md").data.eval_results  # as hubs read it
    measured = [text["models"][-1]["perplexity"]["value"] for text in quality["texts"]]
    assert [each.metric_value for each in shown] == pytest.approx(measured, abs=1e-4)
    (out / "README.md").unlink()
    (out / "README.md").mkdir()
    with pytest.raises(OutputError, match="README.md cannot be written"):
        record_quality(out, quality)
    assert manifest.read(out).quality == quality
    assert names(tmp_path) == {"model", "out"}


def test_finished_layers_stay_when_saving_fails(model: Path, tmp_path: Path) -> None:
    """The output appears while the run works, so that it cannot be put in place in the end."""
    out = tmp_path / "out"

    with WorkDirectory(work_path(out)) as work:
        result = compress(load_dense(str(model)), CONFIG, work=work)
        out.mkdir()
        with pytest.raises(OutputError, match="already exists"):
            save(result, out)
    assert {"layer-00000.safetensors", "layer-00002.safetensors"} <= names(work_path(out))
    out.rmdir()
    run(model, out)
    assert names(tmp_path) == {"model", "out"}


@pytest.mark.parametrize("changes", [True, False])
def test_the_same_command_goes_on_with_an_output_that_it_has_not_measured(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: bool
) -> None:
    """Killed while measuring: the repetition measures; any other command finds the output in its way."""
    measure: dict[str, Any] = {"evaluation": ["builtin"], "evaluation_windows": 1}
    run(model, tmp_path / "expected", **measure)
    process = os.fork()
    if process == 0:
        sys.addaudithook(_die_at_the_card)
        leave_with(lambda: run(model, tmp_path / "out", **measure))
    assert os.WTERMSIG(os.waitpid(process, 0)[1]) == signal.SIGKILL
    assert manifest.read(tmp_path / "out").quality is None
    if changes:
        with pytest.raises(OutputError, match="already exists"):
            run(model, tmp_path / "out", **(measure | {"evaluation_windows": 2}))
        return
    run(model, tmp_path / "out", **measure)
    assert names(tmp_path) == {"model", "out", "expected"}
    found, expected = fingerprint(tmp_path / "out"), fingerprint(tmp_path / "expected")
    assert list(found.values()) == list(expected.values())


@pytest.mark.parametrize("how", ["fails", "is interrupted"])
def test_what_was_written_stays_when_measuring(model: Path, tmp_path: Path, how: str) -> None:
    """Fails: nothing can be written any more once the output is there, as on a full disk."""
    out, said = tmp_path / "out", tmp_path / "said"

    def measure_in_vain() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a worker of pytest-xdist ignores it
        sys.stderr = heard = io.StringIO()
        sys.addaudithook(_limit_files if how == "fails" else _interrupt_at_the_card)
        expected = DotresizeError if how == "fails" else KeyboardInterrupt
        with pytest.raises(expected) as caught:
            run(model, out, evaluation="builtin", evaluation_windows=2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        said.write_text(heard.getvalue() + str(caught.value))

    process = os.fork()
    if process == 0:
        leave_with(measure_in_vain)
    assert os.waitpid(process, 0)[1] == 0
    (line,) = [line for line in said.read_text().splitlines() if "was written, but" in line]
    reason = "could not be measured: " if how == "fails" else "not measured; repeat the command"
    assert f"{out} was written, but" in line
    assert reason in line
    assert ("File too large" in line) == (how == "fails")
    assert manifest.read(out).quality is None
    assert set(load_dense(str(out)).model.state_dict()) == set(load_dense(str(model)).model.state_dict())
    if how == "is interrupted":  # the work directory waits, so that the same command goes on
        assert work_path(out).is_dir()
        run(model, out, evaluation="builtin", evaluation_windows=2)
        assert manifest.read(out).quality is not None
    assert names(tmp_path) == {"model", "out", "said"}
    _, *arguments = shlex.split(line.split("`")[1])
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    (text, *_) = json.loads(done.stdout.splitlines()[-1])["texts"]
    assert (text["windows"], text["window_tokens"]) == (2, 64)


def _limit_files(event: str, values: tuple[object, ...]) -> None:
    """From when the output comes into place, no file may hold more than a few bytes."""
    if event == "os.rename" and str(values[1]).endswith("/out"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, resource.RLIM_INFINITY))


def _interrupt_at_the_card(event: str, values: tuple[object, ...]) -> None:
    if event == "os.rename" and str(values[1]).endswith("out/README.md"):
        os.kill(os.getpid(), signal.SIGINT)


def test_an_output_that_does_not_fit_is_refused_before_a_weight_is_read(model: Path, tmp_path: Path) -> None:
    """The weights are a hole in a file: larger than the disk, and nobody could read it in a lifetime."""
    free_bytes = shutil.disk_usage(tmp_path).free
    config = json.loads((model / "config.json").read_text())
    config |= {
        "hidden_size": 2**17,
        "intermediate_size": 2**20,
        "num_hidden_layers": 1 + free_bytes // 10**12,
    }
    (model / "config.json").write_text(json.dumps(config))
    (model / "model.safetensors").unlink()
    write_hollow(model)
    before = names(tmp_path)
    with pytest.raises(OutputError, match=r"out needs at least [\d,.]+ GB .*for the model.* are free in"):
        run(model, tmp_path / "out")
    assert names(tmp_path) == before


def write_hollow(model: Path) -> None:
    """A weight file of the right shapes that takes no room on the disk."""
    with torch.device("meta"):
        hollow = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model))
    entries, end = {}, 0
    for name, tensor in hollow.named_parameters():
        start, end = end, end + tensor.numel() * 4
        entries[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
    header = json.dumps(entries).encode()
    with (model / "model.safetensors").open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.truncate(8 + len(header) + end)


def _die_at_the_card(event: str, values: tuple[object, ...]) -> None:
    """By SIGKILL, just before the measurements are written into README.md."""
    if event == "os.rename" and str(values[1]).endswith("out/README.md"):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ({"width": 1.0}, "--hidden-size 1.0 changes nothing: the model has 64; the next narrower one is 56"),
        ({"hidden_size": 64}, "--hidden-size 64 changes nothing: the model has 64"),
        (
            {"mlp_width": 1.0},
            "--intermediate-size 1.0 changes nothing: the model has 96; the next narrower one is 88",
        ),
        (
            {"mlp_width": 0.99},
            "is rounded to 96, a multiple of 8, which changes nothing; the next narrower one is 88",
        ),
        ({"layers": 3}, "--layers 3 changes nothing: the model has 3; the next narrower one is 2"),
        ({"kv_groups": 1.0}, "--kv-groups 1.0 changes nothing: the model has 2; the next narrower one is 1"),
        ({"mlp_width": 0.5, "layers": 3}, "or leave --layers out"),
    ],
)
def test_an_axis_that_stays_as_it_is_is_refused(
    model: Path, tmp_path: Path, widths: dict[str, Any], message: str
) -> None:
    """Beside another that changes too; from Python, full width is another basis and allowed."""
    config = CompressConfig(calibration=TEXT, calibration_windows=2, window_tokens=64, **widths)
    with pytest.raises(WidthError) as refused:
        run(model, tmp_path / "out", config)
    assert message in str(refused.value)
    assert names(tmp_path) == {"model"}


def test_room_for_streams_on_the_disk_is_asked_for_before_a_weight_is_read(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dotresize.export.disk.room.free_bytes_at", lambda _: 1000)
    with pytest.raises(OutputError, match=r"for the model, 0\.07 MB for residual streams while it runs\)"):
        run(model, tmp_path / "out", stream_memory=0)  # two of 2 x 64 x 64 floats
    with pytest.raises(OutputError, match=r"for the model, 0\.03 MB for residual streams while it runs\)"):
        run(model, tmp_path / "out", replace(CONFIG, stream_dtype="bfloat16"), stream_memory=0)
    with pytest.raises(OutputError, match=r"for the model\), and"):
        run(model, tmp_path / "out")
