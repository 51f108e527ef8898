"""What several workers share is made once, and only one of them has engines."""

from pathlib import Path

import pytest

from .workers import ROOT, EngineScheduling, once, starts_engine


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


def test_files_that_start_vllm_are_dealt_out_as_one() -> None:
    """However many workers there are, one of them has all engines."""
    engines = {str(file.relative_to(ROOT)) for file in ROOT.glob("tests/**/test_*.py") if starts_engine(file)}
    assert "tests/serve/test_endpoint.py" in engines
    assert "tests/test_locks.py" not in engines
    scheduling = object.__new__(EngineScheduling)  # the rule alone; the rest is pytest-xdist's
    scopes = {file: scheduling._split_scope(f"{file}::test_a[b::c]") for file in engines}
    assert len(set(scopes.values())) == 1
    assert scheduling._split_scope("tests/test_locks.py::test_a") == "tests/test_locks.py"
