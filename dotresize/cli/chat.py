"""`dotresize chat`: talk to an endpoint in the terminal."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import EngineError, OptionError
from .asked.api_key import read_api_key
from .options.groups import grouped
from .options.load import MaxModelLen
from .options.run import Engine
from .options.serving import ApiKeyFile, ModelName, TalkOptions, VllmPython
from .printed.output import error_console

if TYPE_CHECKING:
    from rich.console import Console

    from ..serve.engine.options import ServeOptions

__all__ = ["chat"]

HINT = "an empty line or Ctrl-D ends, /new starts a new conversation"


@dataclass(frozen=True, kw_only=True)
class Talk:
    """One conversation."""

    console: "Console"
    api_key: str | None
    said: TalkOptions


@grouped
def chat(
    said: TalkOptions,
    target: Annotated[
        str, typer.Argument(metavar="[URL|DIR]", help="A running endpoint, or a model to serve meanwhile.")
    ] = "http://127.0.0.1:8000",
    engine_flags: Annotated[
        list[str] | None, typer.Argument(metavar="[-- VLLM_FLAGS...]", help="For a DIR: passed on to vLLM.")
    ] = None,
    model: ModelName = None,
    engine: Engine = "auto",
    max_model_len: MaxModelLen = None,
    vllm_python: VllmPython = None,
    api_key_file: ApiKeyFile = None,
) -> None:
    """Talk to an endpoint, or to a model directory, which is served while the conversation lasts."""
    import asyncio

    from ..serve.engine.options import ServeOptions

    talk = Talk(console=error_console(), api_key=read_api_key(api_key_file), said=said)
    if target.startswith(("http://", "https://")):
        if engine_flags or engine != "auto" or max_model_len is not None or vllm_python is not None:
            raise OptionError(f"{target} runs already: options that start an engine cannot take effect")
        asyncio.run(_converse(target, model, talk))
        return
    if model is not None:
        raise OptionError("--model chooses among the models of a URL; a directory has one")
    options = ServeOptions(
        directory=Path(target),
        engine=engine,  # type: ignore[arg-type]  # ServeOptions checks the choices
        port=0,
        max_model_len=max_model_len,
        vllm_python=vllm_python,
        api_key=talk.api_key,
        engine_flags=tuple(engine_flags or ()),
    )
    _serve_meanwhile(options, talk)


def _serve_meanwhile(options: "ServeOptions", talk: Talk) -> None:
    import asyncio

    from ..serve.endpoint import plan
    from .serve import show_notes, start_endpoint

    command = plan(options)
    show_notes(talk.console, command)
    with start_endpoint(command, options, talk.console) as endpoint:
        asyncio.run(_converse(endpoint.url, endpoint.model_name, talk))


async def _converse(url: str, model: str | None, talk: Talk) -> None:
    from ..serve.client.streaming import Client, Sampling

    console, said, message = talk.console, talk.said, talk.said.message
    sampling = Sampling(max_tokens=said.max_tokens, temperature=said.temperature)
    opening = [{"role": "system", "content": said.system}] if said.system else []
    async with Client(url, api_key=talk.api_key) as client:
        name = model or (await client.models())[0]
        if message is None and sys.stdin.isatty():
            console.print(f"{name} at {url}; {HINT}", markup=False, highlight=False)
        turns = list(opening)
        while (text := message if message is not None else _read_line(console)) is not None:
            if text == "/new":
                turns = list(opening)
                continue
            turns.append({"role": "user", "content": text})
            record = await client.chat(turns, model=name, sampling=sampling, on_text=_write)
            _write("\n")
            if not record.ok:
                raise EngineError(f"no complete answer: {record.error}")
            turns.append({"role": "assistant", "content": record.text})
            console.print(_speed(record.tokens, record.ttft_seconds, record.tpot_seconds), style="dim")
            if message is not None:
                return


def _read_line(console: "Console") -> str | None:
    """The next message, or None at the end."""
    if sys.stdin.isatty():
        console.print("> ", end="", style="bold")
    line = sys.stdin.readline()
    return line.strip() or None


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _speed(tokens: int, ttft_seconds: float | None, tpot_seconds: float | None) -> str:
    parts = [f"{tokens} tokens"]
    if ttft_seconds is not None:
        parts.append(f"first after {ttft_seconds:.2f} s")
    if tpot_seconds:
        parts.append(f"then {1 / tpot_seconds:.1f} tokens/s")
    return ", ".join(parts)
