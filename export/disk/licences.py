"""Licences travel with the weights that they are for."""

import shutil
from pathlib import Path

__all__ = ["LICENCE_FILES", "copy_licences"]

LICENCE_FILES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
_LARGEST_BYTES = 1_000_000  # what is larger is no licence


def copy_licences(source: Path, directory: Path) -> None:
    """Copy the licence files of a model directory; of a file there are none.

    Args:
        source: the model that was read.
        directory: the model that is being written.
    """
    if not source.is_dir():
        return
    for pattern in LICENCE_FILES:
        for file in sorted(source.glob(pattern)):
            if file.is_file() and file.stat().st_size <= _LARGEST_BYTES:
                shutil.copyfile(file, directory / file.name)
