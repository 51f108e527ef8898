"""OpenAI-compatible endpoint over ONNX Runtime GenAI: `/health`, models, completions, chat, streaming.

Honest limits: one request is computed at a time and the others wait in a queue, so this serves one user
or a few, on machines without vLLM. A request field that it cannot honour is refused with 400.

Usage: `python -m dotresize.serve.onnx_server.app DIR --host H --port P --served-model-name NAME` (which is
what `dotresize serve DIR --engine onnx` runs). The API key comes from the environment, see `onnx_command`.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Send

from ...errors import DotresizeError
from ..engine.onnx_command import API_KEY_VARIABLE
from .answers import AnswerShape, usage
from .engine import Engine
from .generation import Generation, OnnxModel, Piece
from .http_guards import RequestError, add_error_answers, add_guards, error_body
from .openai_protocol import ChatRequest, CompletionRequest
from .server import OnnxServer

__all__ = ["build_app", "main"]

Answer = AsyncGenerator[tuple[Generation, Piece], None]
logger = logging.getLogger("dotresize.serve.onnx_server.app")


def build_app(engine: Engine, api_key: str | None) -> FastAPI:
    """The application for one engine."""
    app = FastAPI(title="dotresize ONNX server", openapi_url=None)
    add_error_answers(app)
    add_guards(app, api_key)

    @app.get("/health")
    async def health() -> Response:
        return Response()

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        entry = {"id": engine.name, "object": "model", "created": engine.created, "owned_by": "dotresize"}
        return {"object": "list", "data": [entry | {"max_model_len": engine.model.max_model_len}]}

    @app.post("/v1/completions")
    async def completions(request: CompletionRequest) -> Response:
        return await _answer(engine, request, AnswerShape(engine.name, request, chat=False))

    @app.post("/v1/chat/completions")
    async def chat(request: ChatRequest) -> Response:
        return await _answer(engine, request, AnswerShape(engine.name, request, chat=True))

    return app


async def _answer(engine: Engine, request: CompletionRequest | ChatRequest, shape: AnswerShape) -> Response:
    answer = engine.answer(request)
    first = await anext(answer)  # what cannot be answered at all fails here, with a status of its own
    if request.stream:
        return _Stream(_events(shape, first, answer), media_type="text/event-stream")
    generation = first[0]
    pieces = [first[1]] + [piece async for _, piece in answer]
    return JSONResponse(shape.whole(generation, pieces))


class _Stream(StreamingResponse):
    """A stream that ends its source when the client leaves, and does not wait for the garbage collector."""

    async def stream_response(self, send: Send) -> None:
        source = self.body_iterator
        assert isinstance(source, AsyncGenerator)
        async with aclosing(source):
            await super().stream_response(send)


async def _events(
    shape: AnswerShape, first: tuple[Generation, Piece], answer: Answer
) -> AsyncGenerator[str, None]:
    """Server-sent events of one streamed answer."""
    produced = 0
    generation, piece = first
    try:
        async with aclosing(answer):
            yield _event(shape.chunk(piece, generation, first=True))
            produced = len(piece.token_ids)
            async for _, piece in answer:
                yield _event(shape.chunk(piece, generation, first=False))
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
    parser = argparse.ArgumentParser(description="OpenAI-compatible server over ONNX.")
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
    engine = Engine(model, options.served_model_name)
    app = build_app(engine, os.environ.get(API_KEY_VARIABLE))
    server = OnnxServer(app, engine, host=options.host, port=options.port)
    logger.info("serving %s on %s port %d", options.served_model_name, options.host, options.port)
    with suppress(KeyboardInterrupt):  # Ctrl-C, raised once more after the end
        server.run()
    if not server.started:
        sys.exit(1)


if __name__ == "__main__":
    main()
