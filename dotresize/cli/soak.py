"""`python -m dotresize.cli.soak DIR --minutes 10`: what `make soak` runs. Loopback only, bounded."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import EngineError
from . import main
from .asked.gate import Program
from .asked.lists import number
from .options.load import Concurrency, MaxModelLen, MaxTokens
from .options.run import Json, Minutes
from .printed.output import emit, error_console, spinner

if TYPE_CHECKING:
    from ..serve.client.soak import SoakReport
    from ..serve.endpoint import Endpoint

MEBIBYTE = 1024**2
program = Program(pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]})


@program.command()
def soak(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Model to serve and load.")],
    engine_flags: Annotated[list[str] | None, typer.Argument(metavar="[-- VLLM_FLAGS...]")] = None,
    minutes: Minutes = 10.0,
    concurrency: Concurrency = "4",
    max_tokens: MaxTokens = 64,
    max_model_len: MaxModelLen = None,
    as_json: Json = False,
) -> None:
    """Serve a model on loopback, keep it under constant load, and report what it answered and used."""
    from ..serve.endpoint import plan
    from ..serve.engine.options import ServeOptions
    from .serve import start_endpoint

    console = error_console()
    options = ServeOptions(
        directory=directory, port=0, max_model_len=max_model_len, engine_flags=tuple(engine_flags or ())
    )
    with start_endpoint(plan(options), options, console) as endpoint, spinner("soaking", console) as tell:

        def show(seconds: float, answered: int, memory_bytes: int) -> None:
            tell(f"{seconds:.0f} s, {answered} answered, {memory_bytes / MEBIBYTE:.0f} MiB")

        load: dict[str, Any] = {
            "minutes": 10.0 if minutes is None else minutes,
            "concurrency": number("concurrency", concurrency or ""),
            "max_tokens": max_tokens,
        }
        report = asyncio.run(_soaked(endpoint, **load, on_progress=show))
    emit(asdict(report) | {"passed": report.passed}, _line(report), as_json=as_json)
    if not report.passed:
        failures = "; ".join(f"{count} x {what}" for what, count in report.failures.items())
        raise EngineError(f"the soak failed: {failures or 'token counts differ'}; log: {endpoint.log_path}")


async def _soaked(endpoint: "Endpoint", **load: Any) -> "SoakReport":
    from ..serve.client.soak import soak as run_soak
    from ..serve.client.streaming import Client

    async with Client(endpoint.url) as client:
        return await run_soak(client, endpoint.model_name, endpoint.pid, **load)


def _line(report: "SoakReport") -> str:
    return (
        f"{report.seconds:.0f} s: {report.sent} sent, {report.answered} answered, {report.failed} failed, "
        f"{report.changed_answers} answers changed, {report.output_tokens / report.seconds:.1f} tokens/s; "
        f"memory {report.memory_start_bytes / MEBIBYTE:.0f} MiB at the start, "
        f"{report.memory_end_bytes / MEBIBYTE:.0f} MiB at the end, "
        f"{report.memory_peak_bytes / MEBIBYTE:.0f} MiB at most"
    )


if __name__ == "__main__":
    main(program)
