"""Written part by part: the bytes of a model that was written from memory, whatever interrupted it."""

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from dotresize.compress.output.resume import WorkDirectory, work_path
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.record.progress import Silent
from dotresize.compress.run import compress
from dotresize.compress.weights.source import load_dense, open_model
from dotresize.errors import OutputError
from dotresize.export.checkpoint.paged import open_paged
from dotresize.export.checkpoint.stream import compress_to
from dotresize.export.checkpoint.write import save
from dotresize.export.contract.manifest import read
from dotresize.export.contract.reference import make_reference

CONFIG = CompressConfig(
    width=0.75,
    mlp_width=0.75,
    calibration="builtin:documentation",
    window_tokens=32,
    calibration_windows=4,
)
SHARD_BYTES = 60_000


class Interrupt(Silent):
    """Raises KeyboardInterrupt after some advances, as Ctrl-C would."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, units: int = 1) -> None:
        self.left -= units
        if self.left < 0:
            raise KeyboardInterrupt


def written(model: Path, output: Path, progress: Silent | None = None, **how: Any) -> dict[str, str]:
    with WorkDirectory(work_path(output)) as work:
        dense = open_model(str(model)).stream()
        compress_to(
            dense, CONFIG, output, work=work, progress=progress,
            stream_bytes=how.pop("stream_bytes", 0), max_shard_bytes=SHARD_BYTES, **how,
        )  # fmt: skip
        work.discard()
    return tree(output)


def tree(directory: Path) -> dict[str, str]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def whole(pico_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written from memory."""
    directory = tmp_path_factory.mktemp("whole") / "out"
    save(compress(load_dense(str(pico_llama)), CONFIG), directory, max_shard_bytes=SHARD_BYTES)
    return directory


def test_the_bytes_are_those_of_a_model_written_from_memory(
    pico_llama: Path, whole: Path, tmp_path: Path
) -> None:
    found = written(pico_llama, tmp_path / "out")
    assert sum(name.endswith(".safetensors") for name in found) > 4
    assert found == tree(whole)
    assert read(tmp_path / "out") == read(whole)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


@pytest.mark.parametrize("after", [5, 18, 40, 75])
def test_it_resumes_to_the_same_bytes(pico_llama: Path, whole: Path, tmp_path: Path, after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        written(pico_llama, tmp_path / "out", Interrupt(after))
    assert not (tmp_path / "out").exists()
    assert written(pico_llama, tmp_path / "out") == tree(whole)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_layers_that_are_done_are_not_done_again(pico_llama: Path, tmp_path: Path) -> None:
    """Killed by the system while it puts the output together, when every part is on the disk."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="already exists"):
        written(pico_llama, out)
    seen = {path.name: path.stat().st_mtime_ns for path in work_path(out).glob("model*.safetensors")}
    assert seen
    (out / "mine.txt").unlink()
    out.rmdir()
    written(pico_llama, out)
    assert {name: (out / name).stat().st_mtime_ns for name in seen} == seen


def test_where_there_are_no_links_files_are_moved(
    pico_llama: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)  # as file systems without links do
    assert written(pico_llama, tmp_path / "out") == tree(whole)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_disk_that_is_full_in_the_middle(pico_llama: Path, whole: Path, tmp_path: Path) -> None:
    """It says so, keeps what is done, and goes on when there is space again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], check=False
    ).returncode:
        pytest.skip("this machine does not allow mounting a small file system")
    try:
        with pytest.raises(
            OutputError, match=r"cannot be written: .*No space left on device.*run again to resume"
        ):
            written(pico_llama, disk / "out")
        assert (work_path(disk / "out") / "layer-00000.json").is_file()
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        assert written(pico_llama, disk / "out") == tree(whole)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("resident_bytes", [0, 150_000, 10**9])
def test_a_paged_model_says_what_a_loaded_one_says(whole: Path, resident_bytes: int) -> None:
    dense = load_dense(str(whole))
    loaded = make_reference(dense.model, dense.tokenizer)
    paged = open_paged(whole, resident_bytes=resident_bytes)
    found = make_reference(paged, dense.tokenizer)
    for one, other in zip(found.prompts, loaded.prompts, strict=True):
        assert one.greedy_token_ids == other.greedy_token_ids
        torch.testing.assert_close(torch.tensor(one.logits), torch.tensor(other.logits), atol=1e-5, rtol=1e-5)
    held = [layer for layer in paged.model.layers if not any(each.is_meta for each in layer.parameters())]
    assert len(held) == {0: 0, 150_000: 1, 10**9: 3}[resident_bytes]
