"""One streaming client for OpenAI-compatible endpoints: every token gets a time stamp, no failure is lost.

    async with Client("http://127.0.0.1:8000") as client:
        (model,) = await client.models()
        record = await client.complete("Once upon a time", model=model, sampling=Sampling(max_tokens=32))

A request never raises for what a server or a network can do: the `RequestRecord` says how it ended.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from ...errors import EngineError, InputError, OptionError
from ...foreign import reading
from .record import Outcome, RequestRecord, Usage

__all__ = ["Client", "Sampling"]

CONNECT_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to generate. The default is greedy.

    Raises:
        OptionError: A value is outside its legal range.
    """

    max_tokens: int = 128  # at least 1
    temperature: float = 0.0  # at least 0; 0 is greedy
    top_p: float = 1.0  # in (0, 1]
    seed: int | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False  # vLLM's extension: go on past the end-of-text token

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise OptionError(f"max_tokens is {self.max_tokens}, expected at least 1")
        if self.temperature < 0:
            raise OptionError(f"temperature is {self.temperature}, expected at least 0")
        if not 0 < self.top_p <= 1:
            raise OptionError(f"top_p is {self.top_p}, expected more than 0 and at most 1")

    def fields(self) -> dict[str, Any]:
        """Request fields; those at their default are left out where the protocol allows it."""
        fields: dict[str, Any] = {"max_tokens": self.max_tokens, "temperature": self.temperature}
        if self.top_p != 1.0:
            fields["top_p"] = self.top_p
        if self.seed is not None:
            fields["seed"] = self.seed
        if self.stop:
            fields["stop"] = list(self.stop)
        if self.ignore_eos:
            fields["ignore_eos"] = True
        return fields


class Client:
    """Async client of one endpoint; use it as a context manager.

    Args:
        base_url: For example "http://127.0.0.1:8000", with or without "/v1".
        api_key: Sent as a bearer token when given.
        timeout_seconds: Longest time for one whole request.
        token_ids: Ask for token ids (vLLM's `return_token_ids`, which our ONNX server knows too), so that
            tokens are counted exactly. Turn it off for servers that refuse unknown fields.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 600.0,
        token_ids: bool = True,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._token_ids = token_ids
        with reading(f"the address {base_url!r} or its API key", InputError, by="httpx"):
            self._http = httpx.AsyncClient(
                base_url=base_url.rstrip("/").removesuffix("/v1") + "/",
                headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
                timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_SECONDS),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
                trust_env=False,
            )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def models(self) -> tuple[str, ...]:
        """Names that the endpoint serves.

        Raises:
            EngineError: It cannot be reached, refuses, or answers something else.
        """
        url = f"{self._http.base_url}v1/models"
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                response = await self._http.get("v1/models")
            if response.status_code >= 400:
                raise EngineError(f"{url} answers {_refusal(response.status_code, response.text)}")
            names = tuple(str(model["id"]) for model in response.json()["data"])
            if not names:
                raise EngineError(f"{url} names no model")
            return names
        except (httpx.HTTPError, TimeoutError) as error:
            raise EngineError(
                f"{url} cannot be reached: {_one_line(error)}; is the server running?"
            ) from error
        except (ValueError, KeyError, TypeError, RecursionError, httpx.InvalidURL) as error:
            raise EngineError(f"{url} does not answer like an OpenAI-compatible endpoint: {error}") from error

    async def complete(
        self,
        prompt: str | Sequence[int],
        *,
        model: str,
        sampling: Sampling,
        on_text: Callable[[str], None] | None = None,
    ) -> RequestRecord:
        """Stream `/v1/completions` for a text or a list of token ids."""
        body = {"model": model, "prompt": prompt if isinstance(prompt, str) else list(prompt)}
        return await self._stream("v1/completions", body, sampling, on_text)

    async def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        model: str,
        sampling: Sampling,
        on_text: Callable[[str], None] | None = None,
    ) -> RequestRecord:
        """Stream `/v1/chat/completions` for messages with `role` and `content`."""
        body = {"model": model, "messages": [dict(message) for message in messages]}
        return await self._stream("v1/chat/completions", body, sampling, on_text)

    async def _stream(
        self, path: str, body: dict[str, Any], sampling: Sampling, on_text: Callable[[str], None] | None
    ) -> RequestRecord:
        body |= sampling.fields() | {"stream": True, "stream_options": {"include_usage": True}}
        if self._token_ids:
            body["return_token_ids"] = True
        arrived = _Arrived(on_text=on_text)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                outcome, error = await self._receive(path, body, arrived)
        except TimeoutError:
            outcome, error = "timeout", f"not finished after {self._timeout_seconds:g} s"
        except (httpx.ConnectError, httpx.ConnectTimeout) as cause:
            outcome, error = "unreachable", _one_line(cause)
        except httpx.HTTPError as cause:
            outcome, error = "disconnected", _one_line(cause)
        return arrived.record(outcome, error)

    async def _receive(self, path: str, body: dict[str, Any], arrived: "_Arrived") -> tuple[Outcome, str]:
        async with self._http.stream("POST", path, json=body) as response:
            arrived.http_status = response.status_code
            if response.status_code >= 400:
                text = (await response.aread()).decode(errors="replace")
                return "refused", _refusal(response.status_code, text)
            async for line in response.aiter_lines():
                now = time.perf_counter()
                if not line.startswith("data:"):
                    continue
                data = line.removeprefix("data:").strip()
                if data == "[DONE]":
                    return arrived.check_complete()
                failure = arrived.take(data, now)
                if failure is not None:
                    return failure
        return "disconnected", "the stream ended without its [DONE] mark"


@dataclass(kw_only=True)
class _Arrived:
    """What has arrived of one response so far."""

    on_text: Callable[[str], None] | None
    sent_seconds: float = field(default_factory=time.perf_counter)
    http_status: int | None = None
    token_seconds: list[float] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    usage: Usage | None = None

    def take(self, data: str, now: float) -> tuple[Outcome, str] | None:
        """Add one event; returns how the request failed, if it did."""
        known_pieces = len(self.pieces)
        try:
            event = json.loads(data)
            if event.get("error"):
                return "engine_error", _error_message(event["error"])
            if event.get("usage"):
                self.usage = Usage(
                    prompt_tokens=int(event["usage"]["prompt_tokens"]),
                    completion_tokens=int(event["usage"]["completion_tokens"]),
                )
            for choice in event["choices"]:
                self._take_choice(choice, now)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            return "malformed", f"not a completion chunk ({_one_line(error)}): {data[:120]}"
        if self.on_text is not None and len(self.pieces) > known_pieces:
            self.on_text("".join(self.pieces[known_pieces:]))
        return None

    def _take_choice(self, choice: dict[str, Any], now: float) -> None:
        text = (choice["delta"].get("content") if "delta" in choice else choice["text"]) or ""
        ids = choice.get("token_ids")
        if ids is not None:
            self.token_ids.extend(int(token) for token in ids)
            self.token_seconds.extend([now] * len(ids))
        elif text and not self.token_ids:
            self.token_seconds.append(now)
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        if text:
            self.pieces.append(text)

    def check_complete(self) -> tuple[Outcome, str]:
        """Judge a stream that ended properly."""
        if self.finish_reason is None:
            return "malformed", "the stream ended without a finish reason"
        return "ok", ""

    def record(self, outcome: Outcome, error: str) -> RequestRecord:
        return RequestRecord(
            outcome=outcome,
            error=error,
            http_status=self.http_status,
            sent_seconds=self.sent_seconds,
            ended_seconds=time.perf_counter(),
            token_seconds=tuple(self.token_seconds),
            token_ids=tuple(self.token_ids),
            counted_by="token_ids" if self.token_ids else "chunks",
            text="".join(self.pieces),
            finish_reason=self.finish_reason,
            usage=self.usage,
        )


def _refusal(status: int, text: str) -> str:
    """One line from an error response, in OpenAI's form or any other."""
    try:
        data = json.loads(text)
        message = _error_message(data.get("error") or data.get("detail") or data)
    except (ValueError, AttributeError, RecursionError):
        message = text
    return f"HTTP {status}: {' '.join(message.split())[:500]}"


def _error_message(error: object) -> str:
    return str(error["message"]) if isinstance(error, dict) and "message" in error else str(error)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
