"""What must not stop the ONNX server for the others: huge, broken, half-sent and failing requests."""

import json
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from dotresize.serve.onnx_server.http_patience import PatientProtocol

from .live_onnx import Live, answer_on, completion, everything_on, health, live_server, request

CHAT = "/v1/chat/completions"
HALF = "\ud83d"  # of an emoji
POSITIONS = 8192
PROMPTS = 20  # long ones at once


@pytest.fixture(scope="module")
def live(long_pico_onnx: Path) -> Iterator[Live]:
    def extend(app: FastAPI) -> None:
        @app.get("/broken")
        async def broken() -> float:
            return 1 / 0

    with live_server(long_pico_onnx, extend=extend) as started:
        yield started


def error_of(answer: tuple[int, Any], status: int) -> str:
    """The message of an error that has the status and OpenAI's form."""
    assert answer[0] == status
    error = answer[1]["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == ("invalid_request_error" if status < 500 else "server_error")
    assert error["code"] == status
    return str(error["message"])


@pytest.mark.parametrize(
    "content",
    [
        request(prompt="lighthouse " * 650_000),
        request(prompt="x" * 7_000_000),
        request(CHAT, messages=[{"role": "user", "content": "lighthouse " * 650_000}]),
        request(CHAT, messages=[{"role": "user", "content": "lighthouse " * 65_000}] * 10),
    ],
    ids=["words", "one word", "message", "messages"],
)
def test_a_prompt_that_cannot_fit_is_refused_before_it_is_tokenized(live: Live, content: bytes) -> None:
    message = error_of(live.ask(content), 400)
    assert message.startswith(f"the context holds {POSITIONS} tokens, at most ")
    assert "characters; the prompt has" in message


@pytest.mark.parametrize(
    "content",
    [
        # of 15 characters, the vocabulary's longest token, each: too long by the last few only
        request(prompt="x y " * 30_000),
        request(prompt=[5] * 8000, max_tokens=1),
    ],
    ids=["tokenizing", "prefill"],
)
def test_health_is_answered_while_long_prompts_are_worked_on(live: Live, content: bytes) -> None:
    """The word on the health comes while most of their answers are outstanding."""
    busy = [live.connect(content) for _ in range(PROMPTS)]
    assert live.ask(health())[0] == 200
    answered = select.select(busy, [], [], 0)[0]
    assert len(answered) < PROMPTS / 2
    for connection in busy:
        connection.close()


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": f"a{HALF}b"},
        {"prompt": "a", "stop": [HALF]},
        {"prompt": "a", "model": HALF},
        {"prompt": "a", HALF: 1},
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_half_a_character_is_the_clients_error(live: Live, fields: dict[str, Any], stream: bool) -> None:
    error_of(live.ask(request(**fields, stream=stream)), 400)


def test_half_a_character_in_a_message_is_the_clients_error(live: Live) -> None:
    for content in (HALF, [{"type": "text", "text": HALF}]):
        message = error_of(live.ask(request(CHAT, messages=[{"role": "user", "content": content}])), 400)
        assert "half a character (a lone surrogate) at position 0" in message


@pytest.mark.parametrize(
    "content",
    [
        request(prompt=["a"] * 500_000),
        request(prompt="a", **dict.fromkeys(map(str, range(100_000)), True)),
        request(prompt="a", stop=["zz"] * 500_000),
        request(CHAT, messages=[{"role": "user", "content": "a"}] * 100_000),
        request(CHAT, messages=["a"] * 500_000),
        request(prompt="a", model="m" * 500_000),
    ],
    ids=["ids", "fields", "stops", "messages", "wrong messages", "name"],
)
def test_the_answer_to_many_mistakes_is_short(live: Live, content: bytes) -> None:
    status, answer = live.ask(content)
    assert status in (400, 404)
    assert len(json.dumps(answer)) < 4000


def test_an_unexpected_failure_is_an_error_in_json(live: Live) -> None:
    with live.connect(b"GET /broken HTTP/1.1\r\nHost: here\r\n\r\n") as connection:
        message = error_of(answer_on(connection), 500)
    assert message == "the server failed on this request (ZeroDivisionError); its log has the details"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("token", [5000, 2**40], ids=["in the runtime", "before it"])
def test_a_failure_while_computing_is_an_error_in_json(
    long_pico_onnx: Path, token: int, stream: bool
) -> None:
    with live_server(long_pico_onnx) as live:
        live.engine.model.vocab_size = 2**41  # no longer keeps such tokens from the computation
        failing = request(prompt=[token], stream=stream)
        assert error_of(live.ask(failing), 500).startswith("the runtime failed: ")
        assert live.ask(completion(2))[0] == 200


class Hasty(PatientProtocol):
    """Not patient at all."""

    head_seconds = 0.5
    body_seconds = 0.5


@pytest.fixture
def hasty(long_pico_onnx: Path) -> Iterator[Live]:
    with live_server(long_pico_onnx, protocol=Hasty) as started:
        yield started


WHOLE = completion(2)
HEAD_LENGTH = WHOLE.index(b"\r\n\r\n") + 4


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (b"", None),
        (WHOLE[:20], "the head of the request was not complete after 0.5 s"),
        (WHOLE[: HEAD_LENGTH - 1], "the head of the request was not complete after 0.5 s"),
        (WHOLE[:HEAD_LENGTH], "the body of the request was not complete after 0.5 s"),
        (WHOLE[:-1], "the body of the request was not complete after 0.5 s"),
    ],
    ids=["nothing", "line", "head", "no body", "body"],
)
def test_a_request_that_does_not_arrive_is_given_up(hasty: Live, part: bytes, message: str | None) -> None:
    connections = [hasty.connect(part) for _ in range(20)]
    for connection in connections:
        with connection:
            received = everything_on(connection)
            if message is None:
                assert received == b""
            else:
                assert received.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
                assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]["message"] == message


def test_trickling_does_not_help_and_a_later_request_has_no_more_time(hasty: Live) -> None:
    with hasty.connect(WHOLE) as connection:
        assert answer_on(connection)[0] == 200
        received = b""
        for number in range(HEAD_LENGTH - 1):
            connection.sendall(WHOLE[number : number + 1])
            if select.select([connection], [], [], 0.05)[0]:
                received = connection.recv(65536)
                break
    assert received.startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_a_long_answer_is_not_cut(hasty: Live) -> None:
    with hasty.connect(completion(4000)) as connection:  # seconds, on any machine longer than the patience
        status, answer = answer_on(connection)
    assert status == 200
    assert answer["usage"]["completion_tokens"] == 4000


def test_a_vanished_machine_would_be_noticed(live: Live) -> None:
    """The kernel probes idle connections: a running timer of kind 2 in its table."""
    with live.connect(health()) as connection:
        answer_on(connection)
        port = connection.getsockname()[1]
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        (row,) = [
            row for row in rows if row[1].endswith(f":{live.port:04X}") and row[2].endswith(f":{port:04X}")
        ]
        assert row[5].startswith("02:")
