"""The ONNX server with real sockets in this process, so that a test can see its log and set its patience."""

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from dotresize.serve.onnx_server.app import build_app
from dotresize.serve.onnx_server.engine import Engine
from dotresize.serve.onnx_server.generation import OnnxModel
from dotresize.serve.onnx_server.http_patience import PatientProtocol
from dotresize.serve.onnx_server.server import OnnxServer

MODEL = "long"
ANSWER_SECONDS = 120  # a bound against hanging, not a claim
HTTP_END = b"\r\n\r\n"


class Address:
    """Where a server listens."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self, content: bytes = b"") -> socket.socket:
        """A new connection, on which this has been sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_SECONDS)
        connection.sendall(content)
        return connection

    def ask(self, content: bytes) -> tuple[int, Any]:
        """Status and JSON of one answer."""
        with self.connect(content) as connection:
            return answer_on(connection)


class Live(Address):
    """A server that runs in this process."""

    def __init__(self, port: int, engine: Engine, log: list[str]) -> None:
        super().__init__(port)
        self.engine = engine
        self.log = log

    def departures(self) -> list[tuple[int, int]]:
        """Of each client that left: tokens computed, tokens asked for."""
        found = [line.split() for line in self.log if line.startswith("a client left: ")]
        return [(int(words[3]), int(words[5])) for words in found]


@contextmanager
def live_server(
    directory: Path,
    protocol: type[PatientProtocol] = PatientProtocol,
    extend: Callable[[FastAPI], None] | None = None,
) -> Iterator[Live]:
    engine = Engine(OnnxModel(directory), MODEL)
    app = build_app(engine, None)
    if extend is not None:
        extend(app)
    server = OnnxServer(app, engine, host="127.0.0.1", port=0, protocol=protocol)
    log: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: log.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("dotresize.serve.onnx_server.app")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the server's start")
        yield Live(server.servers[0].sockets[0].getsockname()[1], engine, log)
    finally:
        server.should_exit = True
        thread.join(ANSWER_SECONDS)
        logger.removeHandler(handler)
        assert not thread.is_alive()


def request(path: str = "/v1/completions", /, **fields: Any) -> bytes:
    """An HTTP request with a JSON body."""
    body = json.dumps({"model": MODEL} | fields).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


def completion(tokens: int, **fields: Any) -> bytes:
    return request(prompt=[5, 6, 7], max_tokens=tokens, ignore_eos=True, temperature=0, **fields)


def health() -> bytes:
    return b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n"


def answer_on(connection: socket.socket) -> tuple[int, Any]:
    """Status and JSON (None without a body) of the answer that comes on this connection."""
    received = b""
    while HTTP_END not in received:
        part = connection.recv(65536)
        assert part, f"the connection ended after {received!r}"
        received += part
    head, _, body = received.partition(HTTP_END)
    lines = head.decode().lower().splitlines()
    lengths = [int(line.split(":")[1]) for line in lines if line.startswith("content-length:")]
    assert lengths, head
    while len(body) < lengths[0]:
        body += connection.recv(65536)
    return int(lines[0].split()[1]), json.loads(body) if body else None


def everything_on(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    received = b""
    while part := connection.recv(65536):
        received += part
    return received


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + ANSWER_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {ANSWER_SECONDS} s"
        time.sleep(0.01)
