"""Do two models number the same tokens alike? One hash over each vocabulary."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from ...errors import ModelError
from ...json_files import validated
from ..disk.model_files import load_tokenizer, read_object

__all__ = ["tokenizer_sha256"]


@dataclass(frozen=True, kw_only=True)
class _Added:
    content: str
    id: int


@dataclass(frozen=True, kw_only=True)
class _Vocabulary:
    vocab: dict[str, int] | list[tuple[str, float]]


@dataclass(frozen=True, kw_only=True)
class _Tokenizer:
    """What is read from tokenizer.json."""

    model: _Vocabulary
    added_tokens: list[_Added] | None = None


def tokenizer_sha256(directory: Path) -> str:
    """Hash of the vocabulary: token -> id, added tokens included, whatever the file's formatting.

    Raises:
        ModelError: There is no tokenizer, or it cannot be read.
    """
    path = directory / "tokenizer.json"
    vocabulary = _fast_vocabulary(path) if path.is_file() else _slow_vocabulary(directory)
    text = json.dumps(sorted(vocabulary.items()), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _fast_vocabulary(path: Path) -> dict[str, int]:
    found = validated(_Tokenizer, read_object(path), str(path), ModelError)
    tokens = found.model.vocab
    pairs = tokens if isinstance(tokens, dict) else {token: index for index, (token, _) in enumerate(tokens)}
    return {**pairs, **{added.content: added.id for added in found.added_tokens or ()}}


def _slow_vocabulary(directory: Path) -> dict[str, int]:
    return dict(load_tokenizer(directory).get_vocab())
