"""Clients of the ONNX server that leave without a word: in the queue, while they wait, under a stream."""

import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dotresize.serve.onnx_server.engine import LONGEST_QUEUE

from .live_onnx import Live, answer_on, completion, health, live_server, wait_until

LONG = 8000  # tokens: seconds of computing, of which a client that leaves gets no more than a fraction
LEFT_IN_THE_QUEUE = 5


@pytest.fixture
def live(long_pico_onnx: Path) -> Iterator[Live]:
    with live_server(long_pico_onnx) as started:
        yield started


def holding(live: Live) -> socket.socket:
    """A client whose long answer is being computed."""
    connection = live.connect(completion(LONG, stream=True))
    assert b"200 OK" in connection.recv(100)
    return connection


def assert_next_is_answered(live: Live, left: int) -> None:
    """A good request is answered, and nobody's answer was computed to its end for nobody."""
    status, answer = live.ask(completion(2))
    assert status == 200
    assert answer["usage"]["completion_tokens"] == 2
    wait_until(lambda: len(live.departures()) == left, "the end of every request whose client left")
    assert all(computed < asked == LONG for computed, asked in live.departures())


@pytest.mark.parametrize("stream", [False, True])
def test_one_that_leaves_the_queue_costs_nothing(live: Live, stream: bool) -> None:
    with holding(live):
        left = [live.connect(completion(LONG, stream=stream)) for _ in range(LEFT_IN_THE_QUEUE)]
        wait_until(lambda: live.engine.waiting == 1 + LEFT_IN_THE_QUEUE, "the queue")
        for connection in left:
            connection.close()
        wait_until(lambda: live.engine.waiting == 1, "the departures")
        assert live.departures() == [(0, LONG)] * LEFT_IN_THE_QUEUE
    assert_next_is_answered(live, LEFT_IN_THE_QUEUE + 1)


@pytest.mark.parametrize("stream", [False, True])
def test_one_that_leaves_while_its_answer_is_computed_frees_the_engine(live: Live, stream: bool) -> None:
    for _ in range(3):
        with live.connect(completion(LONG, stream=stream)):
            wait_until(lambda: live.engine.waiting == 1, "the start")
        wait_until(lambda: live.engine.waiting == 0, "the departure")
    assert_next_is_answered(live, 3)


def test_one_that_never_read_its_stream_and_leaves_frees_the_engine(live: Live) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", live.port))
        connection.sendall(completion(LONG, stream=True))
        select.select([connection], [], [])
    assert_next_is_answered(live, 1)


def test_one_that_sent_its_next_request_ahead_and_leaves_frees_the_engine(live: Live) -> None:
    with live.connect(completion(LONG)) as connection:
        wait_until(lambda: live.engine.waiting == 1, "the start")
        connection.sendall(completion(LONG))
        assert live.ask(health())[0] == 200
    assert_next_is_answered(live, 1)


def test_more_than_the_queue_holds_are_refused_at_once_and_the_others_answered(live: Live) -> None:
    refused = 40
    with holding(live):
        waiting = [live.connect(completion(1)) for _ in range(LONGEST_QUEUE - 1 + refused)]
        early: list[socket.socket] = []
        while len(early) < refused:
            early += select.select([one for one in waiting if one not in early], [], [])[0]
        for connection in early:
            status, answer = answer_on(connection)
            assert status == 429
            assert answer["error"]["message"] == "256 requests are waiting already; try again later"
    statuses = [answer_on(connection)[0] for connection in waiting if connection not in early]
    assert statuses == [200] * (LONGEST_QUEUE - 1)
    for connection in waiting:
        connection.close()
