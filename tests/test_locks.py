"""The shared lock: one holder at a time, an error raised inside is not taken for a lock that is held."""

import os
from pathlib import Path

import pytest

from dotresize.errors import OutputError
from dotresize.locks import acquire, locked


def test_a_second_holder_is_refused_and_the_next_is_not(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        locked(path, what="the report"),
        pytest.raises(OutputError, match="another run is writing to the report"),
    ):
        acquire(path, what="the report")
    os.close(acquire(path, what="the report"))


def test_a_blocking_io_error_of_the_body_is_not_the_locks(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError, match="from the body"), locked(tmp_path / "lock", what="it"):
        raise BlockingIOError("from the body")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"none/lock cannot be written"):
        acquire(tmp_path / "none" / "lock", what="it")
