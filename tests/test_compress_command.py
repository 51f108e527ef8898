"""`dotresize compress` in this process: what is refused before work, and what stays when measuring fails."""

import hashlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from dotresize.cli.narrow_run import run_compress
from dotresize.compress.config import CompressConfig
from dotresize.compress.resume import WorkDirectory, work_path
from dotresize.compress.run import compress
from dotresize.compress.source import load_dense
from dotresize.errors import DotresizeError, OptionError, OutputError, TextError
from dotresize.export import manifest
from dotresize.export.checkpoint import record_quality, save

TEXT = Path(__file__).parent / "compress" / "text.txt"
CONFIG = CompressConfig(mlp_width=0.75, calibration=str(TEXT), calibration_windows=2, window_tokens=64)


def run(model: Path, output: Path, config: CompressConfig = CONFIG, **options: Any) -> None:
    defaults: dict[str, Any] = {"evaluation": "none", "evaluation_windows": None, "force": False}
    chosen = defaults | options
    if isinstance(chosen["evaluation"], str):
        chosen["evaluation"] = [chosen["evaluation"]]
    run_compress(str(model), output, config, **chosen, as_json=True)


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
    run(model, out, evaluation="builtin", evaluation_windows=2)
    quality = json.loads(capsys.readouterr().out.splitlines()[-1])["quality"]
    assert manifest.read(out).quality == quality
    assert "Not measured" not in (out / "README.md").read_text()
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
        run(model, tmp_path / "out", **measure)
        os._exit(1)
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


def _die_at_the_card(event: str, values: tuple[object, ...]) -> None:
    """By SIGKILL, just before the measurements are written into README.md."""
    if event == "os.rename" and str(values[1]).endswith("out/README.md"):
        os.kill(os.getpid(), signal.SIGKILL)
