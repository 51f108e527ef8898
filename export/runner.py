"""Run one of the programs in `checks/` in a fresh, isolated, offline process."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DotresizeError

__all__ = ["RunnerError", "RunnerOutput", "run_check"]

CHECKS = Path(__file__).parent / "checks"
TIMEOUT_SECONDS = 1800
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "TOKENIZERS_PARALLELISM": "false",
}


class RunnerError(DotresizeError):
    """The runtime could not open or run the artefact; the message holds its own last words."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True)
class RunnerOutput:
    """What a runner wrote."""

    result: dict[str, Any]
    logits: tuple[NDArray[np.float32], ...]  # per prompt (T, V)


def run_check(script: str, artefact: Path, prompts_json: Path, arguments: Sequence[str] = ()) -> RunnerOutput:
    """Run `checks/SCRIPT` on an artefact and read what it wrote.

    Raises:
        RunnerError: It failed, was killed, or took longer than `TIMEOUT_SECONDS`.
    """
    with tempfile.TemporaryDirectory(prefix="dotresize-check-") as folder:
        out = Path(folder)
        command = [
            sys.executable,
            "-I",
            str(CHECKS / script),
            str(artefact),
            str(prompts_json),
            str(out),
            *arguments,
        ]
        _run(command, out)
        return _read(out)


def _run(command: list[str], out: Path) -> None:
    environment = {**os.environ, **_OFFLINE}
    environment.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    log = out / "log.txt"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=out,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise RunnerError(f"no answer within {TIMEOUT_SECONDS} seconds") from error
        finally:
            _end(process)
    if code != 0:
        raise RunnerError(_last_words(log.read_text(encoding="utf-8", errors="replace"), code))


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Leave no process of the runner's group behind, however it ended."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _last_words(log: str, code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [
        line for line in lines if ("Error" in line or "Exception" in line) and not line.startswith("File ")
    ]
    return (errors or lines or [f"exit code {code}"])[-1][:400]


def _read(out: Path) -> RunnerOutput:
    from safetensors.numpy import load_file

    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    arrays = load_file(out / "logits.safetensors")
    return RunnerOutput(result=result, logits=tuple(arrays[str(index)] for index in range(len(arrays))))
