"""OpenAI-compatible endpoint over ONNX Runtime GenAI: `/health`, models, completions, chat, streaming.

Honest limits: one request is computed at a time and the others wait in a queue, so this serves one user
or a few, on machines without vLLM. A request field that it cannot honour is refused with 400.

Usage: `python -m dotresize.serve.onnx_app DIR --host H --port P --served-model-name NAME` (which is what
`dotresize serve DIR --engine onnx` runs). The API key comes from the environment, see `onnx_command`.
"""

import argparse
import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event, Semaphore
from typing import Any

import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse, StreamingResponse

from ..errors import DotresizeError
from .http_guards import RequestError, add_error_answers, add_guards, error_body
from .onnx_answers import AnswerShape, usage
from .onnx_command import API_KEY_VARIABLE
from .onnx_generation import Generation, OnnxModel, Piece
from .openai_protocol import ChatRequest, CompletionRequest, GenerationRequest

__all__ = ["build_app", "main"]

LONGEST_QUEUE = 256
LONGEST_LEAD_PIECES = 4  # that a generation is ahead of the event loop; slow clients do not count
SHUTDOWN_SECONDS = 2
logger = logging.getLogger("dotresize.serve.onnx_app")


class Engine:
    """The model with its queue of one worker."""

    def __init__(self, model: OnnxModel, name: str) -> None:
        self.model = model
        self.name = name
        self.created = int(time.time())
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="generate")
        self._waiting = 0
        self._running: set[Event] = set()

    async def pieces(self, generation: Generation) -> AsyncIterator[Piece]:
        """Queue the request and pass on what it yields; leaving early cancels it."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Piece | BaseException | None] = asyncio.Queue()
        cancelled = Event()
        lead = Semaphore(LONGEST_LEAD_PIECES)

        def arrive(piece: Piece) -> None:
            lead.release()
            arrived.put_nowait(piece)

        def run() -> None:
            last: BaseException | None = None
            try:
                for piece in self.model.generate(generation, cancelled):
                    # a model faster than the event loop would keep it from sending and from hearing
                    while not lead.acquire(timeout=0.1) and not cancelled.is_set():
                        pass
                    loop.call_soon_threadsafe(arrive, piece)
            except RuntimeError as error:  # the runtime's own failures
                last = error
            loop.call_soon_threadsafe(arrived.put_nowait, last)

        if self._waiting >= LONGEST_QUEUE:
            raise RequestError(429, f"{self._waiting} requests are waiting already; try again later")
        self._waiting += 1
        self._running.add(cancelled)
        try:
            self._worker.submit(run)
            while isinstance(item := await arrived.get(), Piece):
                yield item
            if item is not None:
                logger.error("generation failed: %s", item)
                raise RequestError(500, f"the runtime failed: {item}")
        finally:
            cancelled.set()
            self._waiting -= 1
            self._running.discard(cancelled)

    def close(self) -> None:
        """Cancel everything."""
        for cancelled in self._running:
            cancelled.set()
        self._worker.shutdown(wait=False, cancel_futures=True)

    def prepare(
        self, request: GenerationRequest, prompt_ids: tuple[int, ...], limit: int | None
    ) -> Generation:
        """Check a request against the model.

        Raises:
            RequestError: An unknown model, or a prompt or answer that does not fit.
        """
        if request.model != self.name:
            raise RequestError(404, f"the model {request.model!r} is not served here; it is {self.name!r}")
        room = self.model.max_model_len - len(prompt_ids)
        if room < 1 or (limit is not None and limit > room):
            asked = "" if limit is None else f", {limit} are asked for the answer"
            held = self.model.max_model_len
            raise RequestError(
                400, f"the context holds {held} tokens, the prompt has {len(prompt_ids)}{asked}"
            )
        if not prompt_ids or max(prompt_ids) >= self.model.vocab_size:
            raise RequestError(400, f"expected at least one token, and ids below {self.model.vocab_size}")
        return Generation(
            prompt_ids=prompt_ids,
            max_tokens=room if limit is None else limit,
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=request.top_k,
            seed=request.seed,
            stop=request.stop_texts,
            ignore_eos=request.ignore_eos,
        )


def build_app(model: OnnxModel, name: str, api_key: str | None) -> FastAPI:
    """The application for one opened model."""
    engine = Engine(model, name)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        engine.close()

    app = FastAPI(title="dotresize ONNX server", openapi_url=None, lifespan=lifespan)
    add_error_answers(app)
    add_guards(app, api_key)

    @app.get("/health")
    async def health() -> Response:
        return Response()

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        entry = {"id": name, "object": "model", "created": engine.created, "owned_by": "dotresize"}
        return {"object": "list", "data": [entry | {"max_model_len": model.max_model_len}]}

    @app.post("/v1/completions")
    async def completions(request: CompletionRequest) -> Response:
        prompt = model.encode(request.prompt) if isinstance(request.prompt, str) else tuple(request.prompt)
        generation = engine.prepare(request, prompt, request.max_tokens)
        return await _answer(engine, request, generation, chat=False)

    @app.post("/v1/chat/completions")
    async def chat(request: ChatRequest) -> Response:
        prompt = model.encode_chat([message.plain() for message in request.messages])
        generation = engine.prepare(request, prompt, request.max_completion_tokens or request.max_tokens)
        return await _answer(engine, request, generation, chat=True)

    return app


async def _answer(
    engine: Engine, request: GenerationRequest, generation: Generation, *, chat: bool
) -> Response:
    shape = AnswerShape(engine.name, request, chat=chat)
    if request.stream:
        return StreamingResponse(_events(engine, shape, generation), media_type="text/event-stream")
    pieces = [piece async for piece in engine.pieces(generation)]
    return JSONResponse(shape.whole(generation, pieces))


async def _events(engine: Engine, shape: AnswerShape, generation: Generation) -> AsyncIterator[str]:
    """Server-sent events of one streamed answer."""
    produced = 0
    try:
        async for piece in engine.pieces(generation):
            yield _event(shape.chunk(piece, generation, first=produced == 0))
            produced += len(piece.token_ids)
    except RequestError as error:
        yield _event(error_body(error.status, str(error)))
    else:
        if shape.wants_usage:
            yield _event(shape.envelope([]) | {"usage": usage(generation, produced)})
    yield "data: [DONE]\n\n"


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def main(arguments: list[str] | None = None) -> None:
    """Open the model and serve it until SIGTERM."""
    parser = argparse.ArgumentParser(prog="onnx_app", description="OpenAI-compatible server over ONNX.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--max-model-len", type=int)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        model = OnnxModel(options.directory, options.max_model_len)
    except DotresizeError as error:
        parser.error(str(error))
    app = build_app(model, options.served_model_name, os.environ.get(API_KEY_VARIABLE))
    logger.info("serving %s on %s port %d", options.served_model_name, options.host, options.port)
    uvicorn.run(
        app,
        host=options.host,
        port=options.port,
        log_level="warning",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


if __name__ == "__main__":
    main()
