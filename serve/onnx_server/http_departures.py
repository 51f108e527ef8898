"""Ends the work for a client that is gone, whatever the handler is doing: queued, computing or streaming."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Departures"]


class Departures:
    """Cancels the handler as soon as its client closes the connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        heard = asyncio.Event()  # the whole request
        gone = asyncio.Event()
        answered = False

        async def hear() -> Message:
            if heard.is_set():
                await gone.wait()
                return {"type": "http.disconnect"}
            message = await receive()
            if not message.get("more_body", False):
                heard.set()
            return message

        async def say(message: Message) -> None:
            nonlocal answered
            answered = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        async def listen() -> None:
            await heard.wait()
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        work = asyncio.ensure_future(self._app(scope, hear, say))
        listening = asyncio.ensure_future(listen())
        try:
            await asyncio.wait({work, listening}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and answered:  # the server says "disconnect" after an answer, too
                await asyncio.wait({work})
        finally:
            listening.cancel()
            work.cancel()  # no effect when it is done
        await asyncio.wait({work})
        if not work.cancelled():
            work.result()
