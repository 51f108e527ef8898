"""How long the ONNX server waits for a request to arrive, and how it hears that a client is gone.

uvicorn bounds only the pause between two requests. Here a connection that has not sent a whole head, or a
whole body, in time is answered with 408 and closed; one that says nothing at all is closed.
"""

import asyncio
import json
import socket
from typing import Literal

from uvicorn.protocols.http.h11_impl import H11Protocol

from .http_guards import error_body

__all__ = ["PatientProtocol"]

LARGEST_AHEAD_BYTES = 64 * 1024  # of further requests, sent before the present one is answered
# (option, seconds or count): a client whose machine vanished is noticed within a minute
PROBES = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
Phase = Literal["head", "body", "answer"]


class PatientProtocol(H11Protocol):
    """uvicorn's own HTTP/1.1 connection with limits on the time that a request takes to arrive."""

    head_seconds = 10.0  # from the connection, or from the first byte of a later request
    body_seconds = 60.0  # from the end of the head
    _deadline: asyncio.TimerHandle | None = None
    _watched: Phase | None = None
    _heard_bytes = 0
    _ahead_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first head."""
        super().connection_made(transport)
        connection: socket.socket | None = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in PROBES:
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Pass on what came, and wait for the rest of it only so long."""
        early = self._phase() == "answer"
        self._heard_bytes += len(data)
        super().data_received(data)
        self._watch()
        if not early:
            self._ahead_bytes = 0
        elif self._phase() == "answer":
            self._ahead_bytes += len(data)
            if self._ahead_bytes > LARGEST_AHEAD_BYTES:
                self.transport.abort()
            else:  # uvicorn stops reading here, and then does not hear that the client left
                self.flow.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _phase(self) -> Phase:
        if self.cycle is None or self.cycle.response_complete:
            return "head"
        return "body" if self.cycle.more_body else "answer"

    def _watch(self) -> None:
        phase = self._phase()
        if phase == self._watched:
            return
        self._watched = phase
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if phase != "answer":
            seconds = self.head_seconds if phase == "head" else self.body_seconds
            self._deadline = self.loop.call_later(seconds, self._give_up, phase, seconds)

    def _give_up(self, phase: Phase, seconds: float) -> None:
        if self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size() > 0:  # it does not read either
            self.transport.abort()
            return
        answering = phase == "body" and self.cycle.response_started
        if self._heard_bytes and not answering:
            message = f"the {phase} of the request was not complete after {seconds:g} s"
            content = json.dumps(error_body(408, message)).encode()
            head = (
                "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + content)
        self.transport.close()
