"""The JSON shapes in which the ONNX server answers: OpenAI's, with vLLM's token ids when asked for."""

import time
import uuid
from typing import Any

from .generation import Generation, Piece
from .openai_protocol import GenerationRequest

__all__ = ["AnswerShape", "usage"]


class AnswerShape:
    """The JSON shapes of one answer."""

    def __init__(self, model_name: str, request: GenerationRequest, *, chat: bool) -> None:
        self._chat = chat
        self._stream = request.stream
        self._token_ids = request.return_token_ids
        self.wants_usage = request.stream_options is not None and request.stream_options.include_usage
        kind = "chat.completion.chunk" if request.stream else "chat.completion"
        self._head = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
            "object": kind if chat else "text_completion",
            "created": int(time.time()),
            "model": model_name,
        }

    def envelope(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """The outer object."""
        return self._head | {"choices": choices}

    def chunk(self, piece: Piece, generation: Generation, *, first: bool) -> dict[str, Any]:
        """One streamed chunk."""
        return self.envelope([self._choice(piece, generation, first=first)])

    def whole(self, generation: Generation, pieces: list[Piece]) -> dict[str, Any]:
        """The answer to a request that does not stream."""
        piece = Piece(
            token_ids=tuple(token for piece in pieces for token in piece.token_ids),
            text="".join(piece.text for piece in pieces),
            finish_reason=pieces[-1].finish_reason if pieces else None,
        )
        choice = self._choice(piece, generation, first=True)
        return self.envelope([choice]) | {"usage": usage(generation, len(piece.token_ids))}

    def _choice(self, piece: Piece, generation: Generation, *, first: bool) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": piece.finish_reason}
        if self._chat:
            message = ({"role": "assistant"} if first else {}) | {"content": piece.text}
            choice["delta" if self._stream else "message"] = message
        else:
            choice["text"] = piece.text
        if self._token_ids:
            choice["token_ids"] = list(piece.token_ids)
            if first:
                choice["prompt_token_ids"] = list(generation.prompt_ids)
        return choice


def usage(generation: Generation, produced: int) -> dict[str, int]:
    """Token counts."""
    prompt = len(generation.prompt_ids)
    return {"prompt_tokens": prompt, "completion_tokens": produced, "total_tokens": prompt + produced}
