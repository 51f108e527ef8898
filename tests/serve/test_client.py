"""The client against a real HTTP server that behaves, or misbehaves, exactly as told."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from dotresize.errors import EngineError, OptionError
from dotresize.serve.client.record import RequestRecord
from dotresize.serve.client.streaming import Client, Sampling
from dotresize.serve.engine.ports import free_port

T = TypeVar("T")
PAUSE_SECONDS = 0.05
WORDS = ("one", " two", " three")
USAGE = {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def event(data: object) -> str:
    return f"data: {json.dumps(data)}\n\n"


def chunk(text: str, reason: str | None = None, **more: Any) -> str:
    return event({"choices": [{"index": 0, "text": text, "finish_reason": reason} | more]})


async def stream(kind: str) -> AsyncIterator[str]:
    """The body of one streamed answer; `kind` is the model that was asked for."""
    for index, word in enumerate(WORDS):
        reason = "stop" if index == len(WORDS) - 1 and kind != "unfinished" else None
        if kind == "counted":
            yield chunk(word, reason, token_ids=[index])
        elif kind == "bundled":
            yield chunk(word * 2, reason, token_ids=[index, index])
        elif kind == "silent" and index == 1:
            yield chunk("", None, token_ids=[index])  # half of a character
        elif kind == "silent":
            yield chunk(word, reason, token_ids=[index])
        else:
            yield ": a comment\n\n" + chunk(word, reason)
        if index == 1:
            if kind == "breaks":
                raise RuntimeError("the connection is cut")
            if kind == "hangs":
                await asyncio.sleep(60)
            if kind == "reports":
                yield event({"error": {"message": "the engine died", "code": 500}})
            if kind == "garbles":
                yield "data: {not json\n\n"
            if kind == "surprises":
                yield event(["no", "object"])
        await asyncio.sleep(PAUSE_SECONDS)
    if kind == "endless":
        return
    yield event({"choices": [], "usage": USAGE})
    yield "data: [DONE]\n\n"


def server_app() -> FastAPI:
    app = FastAPI()

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"data": [{"id": "plain"}, {"id": "counted"}]}

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        body = await request.json()
        if body["model"] == "refused":
            return JSONResponse({"error": {"message": "no such\nmodel"}}, 404)
        if body["model"] == "crashed":
            return Response("<html>oops</html>", 500)
        return StreamingResponse(stream(body["model"]), media_type="text/event-stream")

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        body = await request.json()
        answer = json.dumps({key: body[key] for key in sorted(body)}) + str(
            request.headers.get("authorization")
        )

        async def deltas() -> AsyncIterator[str]:
            yield event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
            yield event({"choices": [{"delta": {"content": answer}}]})
            yield event({"choices": [{"delta": {}, "finish_reason": "length"}]})
            yield "data: [DONE]\n\n"

        return StreamingResponse(deltas(), media_type="text/event-stream")

    return app


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    port = free_port("127.0.0.1")
    server = uvicorn.Server(uvicorn.Config(server_app(), port=port, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = server.force_exit = True
    thread.join()


def ask(url: str, model: str, **options: Any) -> RequestRecord:
    async def go() -> RequestRecord:
        async with Client(url, **options) as client:
            return await client.complete("hi", model=model, sampling=Sampling())

    return run(go())


@pytest.mark.parametrize(("model", "counted_by"), [("plain", "chunks"), ("counted", "token_ids")])
def test_every_token_gets_its_arrival_time(url: str, model: str, counted_by: str) -> None:
    record = ask(url, model)
    assert record.ok
    assert record.text == "one two three"
    assert record.finish_reason == "stop"
    assert record.counted_by == counted_by
    assert record.tokens == len(WORDS)
    assert record.usage_agrees is True
    assert record.sent_seconds < record.token_seconds[0] < record.token_seconds[-1] < record.ended_seconds
    # a pause is a lower bound; timers may fire a little early
    assert min(record.itl_seconds) > 0.8 * PAUSE_SECONDS


def test_tokens_of_one_chunk_share_its_time(url: str) -> None:
    record = ask(url, "bundled")
    assert record.token_ids == (0, 0, 1, 1, 2, 2)
    assert record.itl_seconds[0] == 0
    assert record.usage_agrees is False  # the server said 3


def test_tokens_without_text_are_counted(url: str) -> None:
    record = ask(url, "silent")
    assert record.tokens == len(WORDS)
    assert record.text == "one three"


@pytest.mark.parametrize(
    ("model", "outcome", "error", "tokens"),
    [
        ("refused", "refused", "HTTP 404: no such model", 0),
        ("crashed", "refused", "HTTP 500: <html>oops</html>", 0),
        ("breaks", "disconnected", "RemoteProtocolError", 2),
        ("endless", "disconnected", "without its [DONE] mark", 3),
        ("reports", "engine_error", "the engine died", 2),
        ("garbles", "malformed", "not a completion chunk", 2),
        ("surprises", "malformed", "not a completion chunk", 2),
        ("unfinished", "malformed", "without a finish reason", 3),
    ],
)
def test_a_failure_is_recorded_with_what_had_arrived(
    url: str, model: str, outcome: str, error: str, tokens: int
) -> None:
    record = ask(url, model)
    assert record.outcome == outcome
    assert not record.ok
    assert error in record.error
    assert "\n" not in record.error
    assert record.tokens == tokens


def test_a_request_that_takes_too_long_is_given_up(url: str) -> None:
    record = ask(url, "hangs", timeout_seconds=0.5)
    assert record.outcome == "timeout"
    assert record.error == "not finished after 0.5 s"
    assert record.tokens == 2
    assert record.ended_seconds - record.sent_seconds < 5


def test_a_server_that_is_not_there_is_recorded() -> None:
    record = ask(f"http://127.0.0.1:{free_port('127.0.0.1')}", "plain")
    assert record.outcome == "unreachable"
    assert record.http_status is None


def test_chat_sends_what_was_asked_and_shows_text_as_it_comes(url: str) -> None:
    pieces: list[str] = []
    sampling = Sampling(max_tokens=5, temperature=0.5, top_p=0.9, seed=3, stop=("x",), ignore_eos=True)

    async def go() -> RequestRecord:
        async with Client(url + "/v1/", api_key="secret") as client:
            messages = [{"role": "user", "content": "hi"}]
            return await client.chat(messages, model="plain", sampling=sampling, on_text=pieces.append)

    record = run(go())
    assert record.ok
    assert record.finish_reason == "length"
    assert pieces == [record.text]
    sent = json.loads(record.text.removesuffix("Bearer secret"))
    assert sent == {
        "ignore_eos": True,
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "hi"}],
        "model": "plain",
        "return_token_ids": True,
        "seed": 3,
        "stop": ["x"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "top_p": 0.9,
    }


def test_many_requests_run_at_once(url: str) -> None:
    async def go() -> list[RequestRecord]:
        async with Client(url) as client:
            asked = (client.complete("hi", model="plain", sampling=Sampling()) for _ in range(64))
            return list(await asyncio.gather(*asked))

    start = time.perf_counter()
    records = run(go())
    assert {record.text for record in records} == {"one two three"}
    assert time.perf_counter() - start < 64 * len(WORDS) * PAUSE_SECONDS / 2  # one by one takes 9.6 s


def test_models_are_listed(url: str) -> None:
    async def go(where: str) -> tuple[str, ...]:
        async with Client(where) as client:
            return await client.models()

    assert run(go(url)) == ("plain", "counted")
    with pytest.raises(EngineError, match="is the server running"):
        run(go(f"http://127.0.0.1:{free_port('127.0.0.1')}"))
    with pytest.raises(EngineError, match="HTTP 404"):
        run(go(url + "/elsewhere"))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"temperature": -1.0}, "temperature is -1"),
        ({"top_p": 0.0}, "top_p is 0"),
    ],
)
def test_impossible_sampling_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(OptionError, match=complaint):
        Sampling(**options)
