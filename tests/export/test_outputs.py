"""What may be overwritten, and what a killed run leaves behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dotresize.errors import OutputError
from dotresize.export.disk.outputs import check_apart, check_free, check_writable
from dotresize.export.disk.staging import staged_directory, staged_file, write_atomically

MANIFEST = {
    "schema_version": 1,
    "tool_version": "0.1",
    "format": "huggingface",
    "precision": "float32",
    "files": {"model.safetensors": {"bytes": 3, "sha256": ""}},
}


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def earlier_output(directory: Path, **fields: str) -> Path:
    directory.mkdir()
    (directory / "dotresize.json").write_text(json.dumps(MANIFEST | fields))
    (directory / "model.safetensors").write_text("old")
    return directory


@pytest.mark.parametrize(
    "manifest",
    [
        None,
        "",
        "{",
        "[]",
        "{}",
        json.dumps(MANIFEST),
        '{"schema_version": "1"}',
        '{"schema_version": 1, "format": "x"}',
    ],
)
def test_force_replaces_only_what_carries_our_manifest(tmp_path: Path, manifest: str | None) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "thesis.tex").write_text("years")
    (work / "config.json").write_text("{}")
    (work / "genai_config.json").write_text("{}")
    if manifest is not None:
        (work / "dotresize.json").write_text(manifest)
    with pytest.raises(OutputError, match="holds files that dotresize did not write"):
        check_free(work, force=True)
    assert (work / "thesis.tex").read_text() == "years"


def test_force_replaces_ours_and_what_is_empty(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for target in (earlier_output(tmp_path / "ours"), tmp_path / "empty"):
        with staged_directory(target, force=True) as folder:
            (folder / "new").write_text("new")
        assert names(target) == {"new"}
    assert names(tmp_path) == {"ours", "empty"}


def test_force_does_not_delete_what_was_put_into_an_earlier_output(tmp_path: Path) -> None:
    ours = earlier_output(tmp_path / "ours")
    (ours / "my-notes.txt").write_text("measured by hand")
    with pytest.raises(OutputError, match="also holds my-notes.txt, which dotresize did not write"):
        check_free(ours, force=True)
    assert (ours / "my-notes.txt").read_text() == "measured by hand"


def test_what_killed_runs_leave_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".out.ab12cd34.dotresize-tmp").mkdir()  # killed before it could say whose it is
    ours = earlier_output(tmp_path / "out")
    (ours / ".dotresize.json.1.dotresize-tmp").write_text("{}")  # killed while it added its measurements
    check_free(ours, force=True)
    assert names(tmp_path) == {"out"}


def test_force_replaces_only_gguf_files_of_ours(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF old")
    earlier_output(tmp_path / "a.gguf.dotresize", format="gguf")
    (tmp_path / "a.gguf.dotresize" / "model.safetensors").unlink()
    (tmp_path / "killed.gguf").write_bytes(b"GGUF 16 dotresize.source 12ab")
    check_free(tmp_path / "killed.gguf", force=True)
    (tmp_path / "b.gguf").write_bytes(b"a thesis")
    (tmp_path / "c.gguf").write_bytes(b"GGUF of somebody else")
    with staged_file(tmp_path / "a.gguf", force=True) as file:
        file.write_bytes(b"GGUF new")
    assert (tmp_path / "a.gguf").read_bytes() == b"GGUF new"
    for name in ("b.gguf", "c.gguf"):
        with pytest.raises(
            OutputError, match=f"{name} is not a GGUF file that dotresize wrote; --force does"
        ):
            check_free(tmp_path / name, force=True)


@pytest.mark.parametrize(
    "target", ["model", "model/inside", ".", "x/../model", "link", "link/inside", "up/model"]
)
def test_an_output_never_touches_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model").mkdir()
    Path("x").mkdir()
    Path("link").symlink_to("model")
    Path("up").symlink_to(tmp_path)
    with pytest.raises(OutputError, match="which is read; an output never touches its source"):
        check_apart(Path(target), [Path("model")])
    check_apart(Path("model-narrow"), [Path("model")])


def test_no_export_touches_its_checkpoint(pico_saved: Path) -> None:
    from dotresize.export.for_gguf.to_gguf import GgufConfig, export_gguf
    from dotresize.export.for_vllm.to_vllm import VllmConfig, export_vllm
    from dotresize.export.to_onnx import OnnxConfig, export_onnx

    for output in (pico_saved, pico_saved / "inside"):
        with pytest.raises(OutputError, match="never touches its source"):
            export_onnx(pico_saved, output, OnnxConfig(), force=True)
        with pytest.raises(OutputError, match="never touches its source"):
            export_vllm(pico_saved, output, VllmConfig(), force=True)
    with pytest.raises(OutputError, match="never touches its source"):
        export_gguf(pico_saved, pico_saved / "model.gguf", GgufConfig())


def test_a_file_is_a_source_too(tmp_path: Path) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(b"GGUF")
    os.link(file, tmp_path / "same.gguf")
    for target in (file, tmp_path / "same.gguf", tmp_path):
        with pytest.raises(OutputError, match="never touches its source"):
            check_apart(target, [file])
    check_apart(tmp_path / "b.gguf", [file])


@pytest.mark.parametrize(
    "name", ["", ".", "..", "hf:", "demo:x", "~/x", "a\0b", "a\ud800b", "x" * 240, "x" * 300]
)
def test_names_that_no_output_can_have(name: str) -> None:
    with pytest.raises(OutputError, match="does not name an output|no path can hold|choose a shorter name"):
        check_free(Path(name), force=True)


def test_a_place_that_cannot_be_written_is_known_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file is not a directory"):
        check_writable(tmp_path / "file" / "out")
    check_writable(tmp_path / "new" / "parents" / "out")
    assert names(tmp_path) == {"file"}


KILLED = """
import os, signal, sys
from pathlib import Path
from dotresize.export.disk import staging
target, moment = Path(sys.argv[1]), sys.argv[2]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if moment == "between":
    rename = Path.rename
    def once(self, other):
        if self.name == "new":
            die()
        return rename(self, other)
    Path.rename = once
with staging.staged_directory(target, force=True) as folder:
    (folder / "new").write_text("new")
    if moment == "inside":
        die()
"""


@pytest.mark.parametrize("moment", ["inside", "between"])
def test_what_a_killed_run_left_is_cleaned_by_the_next(tmp_path: Path, moment: str) -> None:
    target = earlier_output(tmp_path / "out")
    users = tmp_path / ".out.abcdefgh.dotresize-tmp"
    users.mkdir()
    (users / "mine").write_text("mine")
    done = subprocess.run([sys.executable, "-c", KILLED, str(target), moment], check=False)
    assert done.returncode == -signal.SIGKILL
    assert target.exists() == (moment == "inside")
    assert len(names(tmp_path)) == (3 if moment == "inside" else 2)
    with pytest.raises(OutputError, match="already exists"):
        check_free(target, force=False)
    assert names(tmp_path) == {"out", users.name}
    assert (target / "model.safetensors").read_text() == "old"
    assert (users / "mine").read_text() == "mine"


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    with staged_directory(tmp_path / "out") as folder:
        (folder / "new").write_text("new")
        check_free(tmp_path / "out", force=False)
        assert folder.exists()
    assert names(tmp_path) == {"out"}


def test_texts_of_dead_processes_are_removed(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    dead = tmp_path / f".a.json.{process.pid}.dotresize-tmp"
    mine = tmp_path / ".a.json.tmp"
    for file in (dead, mine):
        file.write_text("half")
    write_atomically(tmp_path / "a.json", "whole")
    assert names(tmp_path) == {"a.json", ".a.json.tmp"}
    assert (tmp_path / "a.json").read_text() == "whole"
