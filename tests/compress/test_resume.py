"""Work directories: only ours are used, damaged items count for nothing, nothing of others is deleted."""

import json
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from dotresize.compress.output.resume import WorkDirectory, work_path
from dotresize.errors import OutputError

LAYER = {"a.weight": torch.arange(6.0).reshape(2, 3), "b.weight": torch.ones(4, dtype=torch.bfloat16)}
RECORD = [{"layer": 0, "site": "mlp.readout"}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with WorkDirectory(tmp_path / "work") as work:
        work.begin("me")
        work.store("layer-00000", LAYER, RECORD)
        work.store("layer-00001", {"a.weight": torch.zeros(2, 3)}, [])
    return tmp_path / "work"


def kept(path: Path, name: str = "layer-00000", identity: str = "me") -> object:
    with WorkDirectory(path) as work:
        work.begin(identity)
        return work.load(name)


def test_what_was_kept_comes_back(path: Path) -> None:
    with WorkDirectory(path) as work:
        work.begin("me")
        found = work.load("layer-00000")
        assert found is not None
        assert found[1] == RECORD
        for name, tensor in LAYER.items():
            assert_close(found[0][name], tensor, atol=0, rtol=0)
        assert work.load("layer-00002") is None


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "another's", "no record", "text"])
def test_a_damaged_item_is_as_good_as_none(path: Path, damage: str) -> None:
    file = path / "layer-00000.safetensors"
    content = file.read_bytes()
    if damage == "another's":
        (path / "layer-00001.safetensors").rename(file)
    elif damage == "no record":
        from safetensors.torch import save_file

        save_file(LAYER, file)
    else:
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        new = {"truncated": content[:-3], "empty": b"", "flipped": flipped, "text": b"\xff" * 300}
        file.write_bytes(new[damage])
    assert kept(path) is None
    with WorkDirectory(path) as work:
        work.begin("me")
        work.store("layer-00000", LAYER, RECORD)
    assert kept(path) is not None


@pytest.mark.parametrize(
    "marker", [b"\xff\xfe", b"{", b"[]", b'{"dotresize_work": 1, "identity": "me"}', b""]
)
def test_a_damaged_marker_starts_afresh(path: Path, marker: bytes) -> None:
    (path / "dotresize-work.json").write_bytes(marker)
    assert kept(path) is None
    assert not list(path.parent.glob("work/*.safetensors"))


def test_another_identity_starts_afresh(path: Path) -> None:
    assert kept(path, identity="you") is None


@pytest.mark.parametrize("name", ["notes.txt", "layer-00000.safetensors", "lock.txt"])
def test_a_directory_without_our_marker_is_left_alone(tmp_path: Path, name: str) -> None:
    mine = tmp_path / "work"
    mine.mkdir()
    (mine / name).write_text("mine")
    with pytest.raises(OutputError, match="is not a work directory of dotresize"):
        WorkDirectory(mine)
    assert [file.name for file in mine.iterdir()] == [name]
    (tmp_path / "link").symlink_to(mine)
    with pytest.raises(OutputError, match="is not a work directory"):
        WorkDirectory(tmp_path / "link")


def test_only_its_own_files_are_removed(path: Path) -> None:
    (path / "thesis.safetensors").write_text("years")
    with WorkDirectory(path) as work:
        work.begin("me")
        work.discard()
    assert [file.name for file in path.iterdir()] == ["thesis.safetensors"]


def test_it_is_locked_until_it_is_left(tmp_path: Path) -> None:
    with WorkDirectory(tmp_path / "work") as work:
        work.begin("me")
        with pytest.raises(OutputError, match="another run is writing to"):
            WorkDirectory(tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_a_run_killed_before_its_marker_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "lock").write_bytes(b"")
    assert kept(tmp_path / "work") is None


def test_the_marker_is_plain(path: Path) -> None:
    assert json.loads((path / "dotresize-work.json").read_text())["identity"] == "me"
    assert work_path(Path("a/out")) == Path("a/.out.dotresize-work")
