"""The model with its queue: one request is computed at a time, one that nobody waits for is dropped."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from threading import Event, Semaphore

from ...foreign import first_line
from .generation import Generation, OnnxModel, Piece
from .http_guards import RequestError
from .openai_protocol import ChatRequest, CompletionRequest

__all__ = ["Engine"]

LONGEST_QUEUE = 256
LONGEST_LEAD_PIECES = 4  # that a generation is ahead of the event loop; slow clients do not count
logger = logging.getLogger("dotresize.serve.onnx_server.app")


class Engine:
    """One opened model, asked by many.

    Args:
        model: The model.
        name: Under which it is served.
    """

    def __init__(self, model: OnnxModel, name: str) -> None:
        self.model = model
        self.name = name
        self.created = int(time.time())
        self._tokenizing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenize")
        self._generating = ThreadPoolExecutor(max_workers=1, thread_name_prefix="generate")
        self._places: set[object] = set()
        self._running: dict[Event, Future[None]] = {}
        self._stopping = False

    async def answer(
        self, request: CompletionRequest | ChatRequest
    ) -> AsyncGenerator[tuple[Generation, Piece], None]:
        """Queue a request and pass on what it yields; closing the iterator ends its work.

        Raises:
            RequestError: It does not fit, too many are waiting, the runtime failed, or the server stops.
            InputError: The model has no chat template, or it refuses the conversation.
        """
        if request.model != self.name:
            raise RequestError(404, f"the model {request.model!r} is not served here; it is {self.name!r}")
        if len(self._places) >= LONGEST_QUEUE:
            raise RequestError(429, f"{len(self._places)} requests are waiting already; try again later")
        place = object()
        self._places.add(place)
        try:
            generation = await self._prepare(request)
            async with aclosing(self._pieces(generation, place)) as pieces:
                async for piece in pieces:
                    yield generation, piece
        finally:
            self._places.discard(place)

    @property
    def waiting(self) -> int:
        """Requests that are being computed or wait for that."""
        return len(self._running)

    def stop(self) -> None:
        """End every request, the waiting ones included, and take no other."""
        self._stopping = True
        for cancelled, future in list(self._running.items()):
            cancelled.set()
            future.cancel()

    def close(self) -> None:
        """After `stop`: wait for the threads, which end within a token."""
        self._tokenizing.shutdown(cancel_futures=True)
        self._generating.shutdown(cancel_futures=True)

    async def _prepare(self, request: CompletionRequest | ChatRequest) -> Generation:
        """Tokenize a request, not on the event loop, and check it against the model."""
        self._refuse_too_long(request)
        loop = asyncio.get_running_loop()
        prompt_ids = await loop.run_in_executor(self._tokenizing, self._encode, request)
        limit = request.limit_tokens
        room = self.model.max_model_len - len(prompt_ids)
        if room < 1 or (limit is not None and limit > room):
            asked = "" if limit is None else f", {limit} are asked for the answer"
            held = self.model.max_model_len
            raise RequestError(
                400, f"the context holds {held} tokens, the prompt has {len(prompt_ids)}{asked}"
            )
        if not prompt_ids or max(prompt_ids) >= self.model.vocab_size:
            raise RequestError(400, f"expected at least one token, and ids below {self.model.vocab_size}")
        return Generation(
            prompt_ids=prompt_ids,
            max_tokens=room if limit is None else limit,
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=request.top_k,
            seed=request.seed,
            stop=request.stop_texts,
            ignore_eos=request.ignore_eos,
        )

    def _refuse_too_long(self, request: CompletionRequest | ChatRequest) -> None:
        """Refuse what cannot fit even if every token were the vocabulary's longest."""
        held = self.model.max_model_len
        longest_characters = held * self.model.longest_token_characters
        if isinstance(request, ChatRequest):
            characters = sum(len(message.text) for message in request.messages)
            if len(request.messages) > held:
                raise RequestError(
                    400, f"the context holds {held} tokens, fewer than the {len(request.messages)} messages"
                )
        else:
            characters = len(request.prompt) if isinstance(request.prompt, str) else 0
        if characters > longest_characters:
            raise RequestError(
                400,
                f"the context holds {held} tokens, at most {longest_characters} characters; "
                f"the prompt has {characters}",
            )

    def _encode(self, request: CompletionRequest | ChatRequest) -> tuple[int, ...]:
        if isinstance(request, ChatRequest):
            return self.model.encode_chat([message.plain() for message in request.messages])
        if isinstance(request.prompt, str):
            return self.model.encode(request.prompt)
        return tuple(request.prompt)

    async def _pieces(self, generation: Generation, place: object) -> AsyncGenerator[Piece, None]:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Piece | None] = asyncio.Queue()
        cancelled = Event()
        lead = Semaphore(LONGEST_LEAD_PIECES)
        computed = 0

        def arrive(piece: Piece) -> None:
            lead.release()
            arrived.put_nowait(piece)

        def run() -> None:
            nonlocal computed
            for piece in self.model.generate(generation, cancelled):
                computed += len(piece.token_ids)
                lead.acquire()  # a model faster than the event loop would keep it from hearing anybody
                loop.call_soon_threadsafe(arrive, piece)

        def end(future: Future[None]) -> None:
            if cancelled.is_set() and not self._stopping:
                logger.info("a client left: %d of %d tokens computed", computed, generation.max_tokens)
            loop.call_soon_threadsafe(self._places.discard, place)  # a slow reader takes nobody's turn
            loop.call_soon_threadsafe(arrived.put_nowait, None)

        if self._stopping:
            raise RequestError(503, "the server is stopping")
        self._running[cancelled] = future = self._generating.submit(run)
        future.add_done_callback(end)
        finished = False
        try:
            while (piece := await arrived.get()) is not None:
                finished = piece.finish_reason is not None
                yield piece
            if not finished:
                raise self._failure(future)
        finally:
            del self._running[cancelled]
            if not finished:
                cancelled.set()
                lead.release()
                future.cancel()

    def _failure(self, future: Future[None]) -> RequestError:
        error = None if future.cancelled() else future.exception()
        if error is None:
            return RequestError(503, "the server is stopping")
        logger.error("generation failed", exc_info=error)
        return RequestError(500, f"the runtime failed: {first_line(error)}")
