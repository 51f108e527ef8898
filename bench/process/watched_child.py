"""A child whose time and memory are what is measured: the protocol of `child_call` in a watched process."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .child_call import read_reply, write_request
from .engine_run import EngineRun, run_engine

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["run_watched"]

Reply = TypeVar("Reply")


def run_watched(
    module: str,
    request: "DataclassInstance",
    reply: type[Reply],
    *,
    folder: Path,
    environment: Mapping[str, str],
    log_path: Path,
    timeout_seconds: float,
) -> tuple[EngineRun, Reply | None]:
    """Run a module on a request, watched; its failure is a result as well.

    Args:
        module: Its `__main__` part calls `child_call.answer`.
        request: What the module's work takes.
        reply: The type of what it returns.
        folder: Gets the request and the reply.
        environment: Added to the present one, which it overrules.
        log_path: Gets stdout and stderr.
        timeout_seconds: The child is stopped after that long.

    Returns:
        How the process ended and what it used, and its reply; None when it failed, see `failure_of`.
    """
    run = run_engine(
        [sys.executable, *write_request(module, request, folder)],
        environment=environment,
        log_path=log_path,
        timeout_seconds=timeout_seconds,
    )
    return run, read_reply(reply, folder) if run.exit_code == 0 else None
