"""Run one of the programs in `checks/` in a fresh process and read what it wrote."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..process.child import run_child

__all__ = ["RunnerOutput", "run_check"]

CHECKS = Path(__file__).parent / "checks"


@dataclass(frozen=True, kw_only=True)
class RunnerOutput:
    """What a runner wrote."""

    result: dict[str, Any]
    logits: tuple[NDArray[np.float32], ...]  # per prompt (T, V); empty when the runtime hands out none

    @property
    def runtime(self) -> str:
        """Name and version of what ran."""
        return str(self.result["runtime"])


def run_check(
    script: str,
    artefact: Path,
    prompts_json: Path,
    arguments: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
) -> RunnerOutput:
    """Run `checks/SCRIPT` on an artefact, with further settings in its environment.

    Raises:
        ChildError: The runtime could not open or run it.
    """
    with tempfile.TemporaryDirectory(prefix="dotresize-check-") as folder:
        paths = [str(CHECKS / script), str(artefact.resolve()), str(prompts_json.resolve()), folder]
        environment = {"VLLM_CPU_KVCACHE_SPACE": "1", **(settings or {})}
        run_child([*paths, *arguments], folder=Path(folder), environment=environment)
        return _read(Path(folder))


def _read(out: Path) -> RunnerOutput:
    from safetensors.numpy import load_file

    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    path = out / "logits.safetensors"
    arrays = load_file(path) if path.exists() else {}
    return RunnerOutput(result=result, logits=tuple(arrays[str(index)] for index in range(len(arrays))))
