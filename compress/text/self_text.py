"""Text that the dense model writes itself: calibration that needs no data and follows its training.

A round is a batch of texts: answers to short questions through the chat template, texts that go on from
passages and from a few words, and texts from nothing. Round i depends on the seed and i only, so that asking
for more text keeps what was there. Loops and near-duplicates are dropped.
"""

import hashlib
import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...errors import ModelError, OutputError, TextError
from ...json_files import read_json, validated
from ...version import __version__
from ..maths.precision import has_fast_bfloat16
from ..record.progress import Progress, Silent
from .conversation import render_question
from .grouped_attention import grouped_attention
from .openings import BEGINNINGS, QUESTIONS
from .passages import PASSAGES
from .sampling import sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ..weights.dense import Dense

__all__ = ["CACHE_FOLDER", "SelfText"]

Piece = tuple[str, str]  # the beginning that was given, and what the model said
ROUND = {"question": 16, "passage": 20, "beginning": 8, "nothing": 4}  # texts of a round
NEW_TOKENS = 320  # of a text at most
_GRAM = 8  # tokens
_MOST_SEEN = 0.5  # of a text's grams, above which it repeats itself or another text
_FEWEST_TOKENS = 16
CACHE_FOLDER = ".dotresize-cache"


@dataclass(frozen=True, kw_only=True)
class SelfText:
    """Where self text comes from and where it is kept.

    Attributes:
        dense: the model that writes.
        device: where it writes; it has to fit there as a whole.
        seed: of the sampling.
        cache: a directory to keep texts in, or None.
        progress: told about every token.
    """

    dense: "Dense"
    device: torch.device
    seed: int
    cache: Path | None = None
    progress: Progress = field(default_factory=Silent)

    def documents(self, tokens: int) -> list[str]:
        """Texts with at least this many tokens in all, special tokens spelled out.

        Raises:
            ModelError: the model does not fit on the device.
            TextError: the model writes little but loops.
            OutputError: the cache cannot be written.
        """
        rounds = self._cached()
        sieve = _Sieve(self.dense.tokenizer)
        for each in rounds:
            sieve.add(each)
        if sieve.tokens < tokens:
            self.progress.begin("self text", tokens)
            self.progress.advance(sieve.tokens)
            with self._on_device() as model:
                while sieve.tokens < tokens:
                    before = sieve.tokens
                    rounds.append(self._round(model, len(rounds)))
                    sieve.add(rounds[-1])
                    self._keep(rounds)
                    self.progress.advance(sieve.tokens - before)
                    if sieve.tokens * 20 < len(rounds) * sum(ROUND.values()) * _FEWEST_TOKENS:
                        raise TextError(
                            f"of {len(rounds)} batches that {self.dense.source.name} wrote, nearly all were "
                            "loops or repetitions; give --calibration FILE instead of self"
                        )
        return sieve.texts

    def _round(self, model: "PreTrainedModel", index: int) -> list[Piece]:
        """The texts of one round."""
        tokenizer = self.dense.tokenizer
        prompts = self._prompts(index)
        ids = [tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in prompts]
        context = int(getattr(model.config, "max_position_embeddings", None) or 2048)
        short = [each for each in ids if 0 < len(each) <= context // 2]
        with grouped_attention(model):
            said = sample(
                model,
                short,
                new_tokens=min(NEW_TOKENS, context - max(map(len, short))),
                stop=self._stop_tokens(),
                generator=torch.Generator().manual_seed(self.seed * 1_000_003 + index),
            )
        return [
            (_text(tokenizer, start), _text(tokenizer, rest)) for start, rest in zip(short, said, strict=True)
        ]

    def _prompts(self, index: int) -> list[str]:
        """Beginnings of round number `index`, drawn in turn from lists shuffled by the seed."""
        tokenizer = self.dense.tokenizer
        shuffled = random.Random(self.seed)
        questions, passages, beginnings = (
            shuffled.sample(texts, len(texts)) for texts in (QUESTIONS, PASSAGES, BEGINNINGS)
        )
        asked = _turn(questions, index, ROUND["question"])
        prompts = [render_question(question, tokenizer) for question in asked]
        prompts += _turn(passages, index, ROUND["passage"])
        prompts += _turn(beginnings, index, ROUND["beginning"])
        start = tokenizer.bos_token or tokenizer.eos_token
        prompts += [str(start)] * ROUND["nothing"] if start else []
        random.Random(f"{self.seed} {index}").shuffle(prompts)  # so that the first texts are of all kinds
        return prompts

    def _stop_tokens(self) -> frozenset[int]:
        generation = self.dense.generation_config
        ends = [self.dense.tokenizer.eos_token_id, getattr(generation, "eos_token_id", None)]
        flat = [token for end in ends for token in (end if isinstance(end, list) else [end])]
        return frozenset(token for token in flat if isinstance(token, int))

    @property
    def _dtype(self) -> torch.dtype:
        """The model writes in bfloat16 where products are quicker in it: half the bytes to read per token."""
        return torch.bfloat16 if has_fast_bfloat16(self.device) else self.dense.dtype

    @contextmanager
    def _on_device(self) -> "Iterator[PreTrainedModel]":
        with self.dense.whole(self._dtype) as model, self._moved(model):
            yield model

    @contextmanager
    def _moved(self, model: "PreTrainedModel") -> Iterator[None]:
        home = model.device
        try:
            model.to(self.device)  # type: ignore[arg-type]
            yield
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"{self.dense.source.name} does not fit on {self.device} as a whole, which writing self text "
                "needs; give --calibration FILE, or builtin:documentation and the like"
            ) from error
        finally:
            model.to(home)  # type: ignore[arg-type]

    @property
    def _file(self) -> Path | None:
        """One file per model and everything else that decides what it writes."""
        if self.cache is None:
            return None
        config, tokenizer = self.dense.config, self.dense.tokenizer
        parts = [self.dense.source.sha256, config.to_dict(), str(tokenizer.chat_template), self.seed]
        parts += [
            ROUND,
            NEW_TOKENS,
            QUESTIONS,
            PASSAGES,
            BEGINNINGS,
            str(self.dense.dtype),
            str(self._dtype),
            self.device.type,
        ]
        parts += [torch.__version__, __version__]
        key = hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()
        return self.cache / f"self-{key[:24]}.json"

    def _cached(self) -> list[list[Piece]]:
        file = self._file
        if file is None or not file.is_file():
            return []
        return validated(list[list[tuple[str, str]]], read_json(file, TextError), str(file), TextError)

    def _keep(self, rounds: list[list[Piece]]) -> None:
        file = self._file
        if file is None:
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
            temporary.write_text(json.dumps(rounds, ensure_ascii=False), encoding="utf-8", errors="replace")
            temporary.rename(file)
        except OSError as error:
            raise OutputError(f"{file} cannot be written: {error}; free some space and run again") from error


class _Sieve:
    """Lets a text through that is long enough and says mostly what neither it nor another said before."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self._seen: set[tuple[int, ...]] = set()
        self.texts: list[str] = []
        self.tokens = 0

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def add(self, pieces: list[Piece]) -> None:
        """Look at the texts of a round, in order."""
        for prompt, said in pieces:
            ids = self._ids(said)
            grams = [tuple(ids[index : index + _GRAM]) for index in range(len(ids) - _GRAM + 1)]
            fresh = set(grams) - self._seen
            if len(ids) < _FEWEST_TOKENS or len(fresh) < (1 - _MOST_SEEN) * len(grams):
                continue
            self._seen |= fresh
            self.texts.append(prompt + said)
            self.tokens += len(self._ids(prompt + said))


def _turn(items: list[str], index: int, count: int) -> list[str]:
    return [items[(index * count + offset) % len(items)] for offset in range(count)]


def _text(tokenizer: "PreTrainedTokenizerBase", ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
