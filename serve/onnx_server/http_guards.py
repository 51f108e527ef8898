"""Between the network and the ONNX server: the key, limits, gone clients, and errors in OpenAI's form."""

import hmac
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...errors import InputError
from .http_departures import Departures

__all__ = ["RequestError", "add_error_answers", "add_guards", "error_body"]

LARGEST_BODY_BYTES = 8 * 1024**2
LONGEST_MESSAGE_CHARACTERS = 2000
MOST_PROBLEMS = 5  # of a body that does not fit


class RequestError(Exception):
    """A request that is answered with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def error_body(status: int, message: str) -> dict[str, Any]:
    """An error in OpenAI's form."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    # what a client sent may come back in it: too much of it, or characters that no JSON can carry
    message = message[:LONGEST_MESSAGE_CHARACTERS].encode("utf-8", "replace").decode()
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def add_error_answers(app: FastAPI) -> None:
    """Every error in OpenAI's form; a body that does not fit is 400, as OpenAI and vLLM answer it."""

    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> JSONResponse:
        return JSONResponse(error_body(error.status, str(error)), error.status)

    @app.exception_handler(InputError)
    async def bad_input(_: Request, error: InputError) -> JSONResponse:
        return JSONResponse(error_body(400, str(error)), 400)

    @app.exception_handler(RequestValidationError)
    async def bad_body(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = error.errors()[:MOST_PROBLEMS]
        found = [f"{_place(item['loc'])}: {item['msg']}" for item in problems]
        return JSONResponse(error_body(400, "; ".join(found)), 400)

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(error_body(error.status_code, str(error.detail)), error.status_code)

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> JSONResponse:
        message = f"the server failed on this request ({type(error).__name__}); its log has the details"
        return JSONResponse(error_body(500, message), 500)


def _place(path: Sequence[int | str]) -> str:
    """Where in the body, without pydantic's own names for the alternatives of a field."""
    kinds = ("constrained-", "function-")
    return ".".join(str(part) for part in path if "[" not in str(part) and not str(part).startswith(kinds))


def add_guards(app: FastAPI, api_key: str | None) -> None:
    """Put the size limit, and the key check when there is a key, in front of every route.

    And end the work of every route when its client leaves.
    """
    app.add_middleware(_BodyLimit)
    if api_key is not None:
        app.add_middleware(_KeyCheck, api_key=api_key)
    app.add_middleware(Departures)


class _KeyCheck:
    """Refuses `/v1` without the right bearer token."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app = app
        self._expected = f"Bearer {api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v1"):
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                await JSONResponse(error_body(401, "missing or wrong API key"), 401)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _BodyLimit:
    """Refuses a body larger than any request needs: at once when it is announced, else as it comes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received_bytes = 0

        async def counted() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > LARGEST_BODY_BYTES:
                raise RequestError(413, f"the body is larger than {LARGEST_BODY_BYTES} bytes")
            return message

        if scope["type"] == "http":
            announced = dict(scope["headers"]).get(b"content-length", b"0")
            if announced.isdigit() and int(announced) > LARGEST_BODY_BYTES:
                body = error_body(413, f"the body is larger than {LARGEST_BODY_BYTES} bytes")
                await JSONResponse(body, 413)(scope, receive, send)
                return
        await self._app(scope, counted, send)
