"""What several workers share is made once, and only one of them has an engine."""

import fcntl
from pathlib import Path

import pytest

from .workers import OneEngine, once


def test_a_folder_is_made_once_and_anew_after_a_failure(tmp_path_factory: pytest.TempPathFactory) -> None:
    calls: list[bool] = []

    def make(folder: Path) -> None:
        assert list(folder.iterdir()) == []
        (folder / "model").touch()
        calls.append(True)
        if len(calls) == 1:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        once(tmp_path_factory)("test-workers", make)
    folder = once(tmp_path_factory)("test-workers", make)
    assert once(tmp_path_factory)("test-workers", make) == folder
    assert len(calls) == 2
    assert [path.name for path in folder.iterdir()] == ["model"]


def test_an_engine_is_locked_from_the_first_to_the_last_of_its_tests(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    def is_free() -> bool:
        with (tmp_path / "vllm.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    engine = OneEngine()
    engine.before(request.node, tmp_path)
    assert is_free()
    request.node.add_marker(pytest.mark.vllm)
    engine.before(request.node, tmp_path)
    engine.after(request.node, request.node)
    assert not is_free()
    engine.after(request.node, None)
    assert is_free()
