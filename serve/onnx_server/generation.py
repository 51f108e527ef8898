"""Text generation by ONNX Runtime GenAI: one request at a time, token by token.

The runtime computes logits; the tokenizer is the checkpoint's own `tokenizer.json`, so a prompt becomes the
same tokens here as in transformers and vLLM.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import Literal

import numpy as np
import onnxruntime_genai as genai
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from ...errors import InputError, ModelError, OptionError
from ...export.disk.model_files import GENAI_CONFIG
from .sampling import choose_token

__all__ = ["Generation", "OnnxModel", "Piece"]

PREFILL_TOKENS = 128  # of a prompt at once: while it computes, the runtime lets no other thread run


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One request, ready to run."""

    prompt_ids: tuple[int, ...]
    max_tokens: int
    temperature: float = 0.0  # 0 is greedy
    top_p: float = 1.0
    top_k: int = 0  # 0 considers all tokens
    seed: int | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What one step added. `text` may be empty while a character or a stop text is incomplete."""

    token_ids: tuple[int, ...]
    text: str
    finish_reason: Literal["stop", "length"] | None


class OnnxModel:
    """An export opened by ONNX Runtime GenAI.

    Args:
        directory: Output of `dotresize export onnx`.
        max_model_len: Tokens of prompt and answer together; None takes the model's own limit.

    Raises:
        ModelError: The runtime or the tokenizer cannot open it.
        OptionError: `max_model_len` is more than the model holds.
    """

    def __init__(self, directory: Path, max_model_len: int | None = None) -> None:
        try:
            settings = json.loads((directory / GENAI_CONFIG).read_text(encoding="utf-8"))["model"]
            self._model = genai.Model(str(directory))
            self._genai_tokenizer = genai.Tokenizer(self._model)
            self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
            limit = int(settings["context_length"])
            self.vocab_size = int(settings["vocab_size"])
            ends = settings["eos_token_id"]
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise ModelError(
                f"{directory} cannot be opened by ONNX Runtime GenAI: {error}; export the model again"
            ) from error
        if max_model_len is not None and max_model_len > limit:
            raise OptionError(f"--max-model-len {max_model_len} is more than the model's {limit} positions")
        self.max_model_len = max_model_len or limit
        self._end_ids = frozenset(ends if isinstance(ends, list) else [ends])
        self._running = Lock()
        # bytes are spelled as one or two characters there, so this is never too short
        self.longest_token_characters = max(map(len, self._tokenizer.get_vocab()), default=1)

    def encode(self, text: str, *, special_tokens: bool = True) -> tuple[int, ...]:
        """Token ids of a text. Other threads can run meanwhile."""
        # only the call for several texts lets go of Python's lock
        (encoded,) = self._tokenizer.encode_batch([text], add_special_tokens=special_tokens)
        return tuple(encoded.ids)

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """Token ids of a conversation, through the checkpoint's chat template.

        Raises:
            InputError: The model has no template, or its template refuses the conversation.
        """
        try:
            text = self._genai_tokenizer.apply_chat_template(
                messages=json.dumps([dict(message) for message in messages]), add_generation_prompt=True
            )
        except RuntimeError as error:
            raise InputError(f"the model's chat template does not take these messages: {error}") from error
        return self.encode(text, special_tokens=False)

    def generate(self, request: Generation, cancelled: Event) -> Iterator[Piece]:
        """Run one request; a second caller waits until the first is done.

        Args:
            request: Prompt and answer must fit into `max_model_len`.
            cancelled: Set it to stop early.

        Raises:
            RuntimeError: The runtime failed.
        """
        with self._running:
            if cancelled.is_set():
                return
            state = self._fresh_state(request)
            new_ids: tuple[int, ...] = request.prompt_ids
            random = np.random.default_rng(request.seed)
            text = _StoppingText(self._tokenizer, request.stop)
            for step in range(1, request.max_tokens + 1):
                for start in range(0, len(new_ids), PREFILL_TOKENS):
                    if cancelled.is_set():
                        return
                    state.append_tokens(np.asarray(new_ids[start : start + PREFILL_TOKENS], dtype=np.int32))
                token = choose_token(
                    state.get_logits()[0, -1],  # (V,)
                    temperature=request.temperature,
                    top_p=request.top_p,
                    top_k=request.top_k,
                    generator=random,
                )
                new_ids = (token,)
                ended = token in self._end_ids and not request.ignore_eos
                new_text, stopped = ("", False) if ended else text.add(token)
                reason: Literal["stop", "length"] | None = None
                if ended or stopped:
                    reason = "stop"
                elif step == request.max_tokens:
                    reason = "length"
                if reason is not None and not stopped:
                    new_text += text.rest()
                yield Piece(token_ids=(token,), text=new_text, finish_reason=reason)
                if reason is not None:
                    return

    def _fresh_state(self, request: Generation) -> genai.Generator:
        parameters = genai.GeneratorParams(self._model)
        # the key/value cache is allocated for max_length: no more than this request needs
        parameters.set_search_options(max_length=len(request.prompt_ids) + request.max_tokens)
        return genai.Generator(self._model, parameters)


class _StoppingText:
    """Tokens to text, holding back what may turn out to be a stop text."""

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...]) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._stop = stop
        self._held = ""

    def add(self, token: int) -> tuple[str, bool]:
        """Text that is safe to send, and whether a stop text came."""
        self._held += self._stream.step(self._tokenizer, token) or ""
        found = [place for text in self._stop if (place := self._held.find(text)) >= 0]
        if found:
            return self._held[: min(found)], True
        safe = len(self._held) - self._possible_stop()
        sent, self._held = self._held[:safe], self._held[safe:]
        return sent, False

    def rest(self) -> str:
        """What was held back."""
        return self._held

    def _possible_stop(self) -> int:
        """Length of the longest tail that begins a stop text."""
        longest = max((len(text) for text in self._stop), default=0)
        for length in range(min(longest - 1, len(self._held)), 0, -1):
            tail = self._held[-length:]
            if any(text.startswith(tail) for text in self._stop):
                return length
        return 0
