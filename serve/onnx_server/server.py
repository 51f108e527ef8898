"""The HTTP server around the ONNX application: patient up to a limit, and quick to stop without a fuss."""

import asyncio
import socket

import uvicorn
from fastapi import FastAPI

from .engine import Engine
from .http_patience import PatientProtocol

__all__ = ["OnnxServer"]

SHUTDOWN_SECONDS = 2.0


class OnnxServer(uvicorn.Server):
    """uvicorn, which on SIGTERM and SIGINT first lets every request end by itself.

    Args:
        app: What `build_app` made of the engine.
        engine: The same engine.
        host: Address to listen on.
        port: 0 takes a free one.
        protocol: The handling of one connection.
    """

    def __init__(
        self,
        app: FastAPI,
        engine: Engine,
        *,
        host: str,
        port: int,
        protocol: type[PatientProtocol] = PatientProtocol,
    ) -> None:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http=protocol,
            ws="none",
            lifespan="off",
            log_level="warning",
            timeout_graceful_shutdown=int(SHUTDOWN_SECONDS),
        )
        super().__init__(config)
        self._engine = engine

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the requests, those that cannot end by cutting their connection, and then the server."""
        for server in self.servers:
            server.close()
        self._engine.stop()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SHUTDOWN_SECONDS
        while self.server_state.tasks and loop.time() < deadline:
            await asyncio.sleep(0.02)
        if self.server_state.tasks:  # cancelled, they would be logged as failures
            for connection in list(self.server_state.connections):
                connection.transport.abort()
        await super().shutdown(sockets)
        await asyncio.to_thread(self._engine.close)
