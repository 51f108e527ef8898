"""A model's config, checked before anything is made from it.

transformers builds tables as large as a config says, and takes what it cannot mean without a word. So the
values that decide sizes and positions are bounded here, in the file and again as transformers resolved them.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ...foreign import reading

__all__ = ["check_config", "check_token_ids", "check_vocabulary"]

_LARGEST = {  # far above any model there is
    "hidden_size": 2**17,
    "intermediate_size": 2**20,
    "num_hidden_layers": 1000,
    "num_attention_heads": 4096,
    "num_key_value_heads": 4096,
    "head_dim": 2**13,
    "vocab_size": 2**22,
    "max_position_embeddings": 2**30,
    "num_labels": 100_000,
}
_POSITIVE = ("rope_theta", "rms_norm_eps", "factor")
_LONGEST_LIST = 1_000_000
_DEEPEST = 20


def check_config(config: Any, what: str, *, finite: bool = True) -> None:
    """Refuse values that no model can have.

    Args:
        config: the content of config.json, or of a resolved config.
        what: where it was read, for the error.
        finite: also refuse infinities and NaN under any name (some families that are only measured have
            them).

    Raises:
        ModelError: naming the key, its value and what was expected.
    """
    if not isinstance(config, Mapping):
        raise ModelError(
            f"{what} holds a {type(config).__name__}; expected a JSON object with a model's config"
        )
    _check(config, what, "", finite, 0)


def _check(value: Any, what: str, path: str, finite: bool, depth: int) -> None:
    if depth > _DEEPEST:
        raise ModelError(
            f"{what} nests deeper than {_DEEPEST} levels at {path[:60]}; expected a plain config"
        )
    name = path.rpartition(".")[2]
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check(inner, what, f"{path}.{key}" if path else str(key), finite, depth + 1)
    elif isinstance(value, list | tuple):
        if len(value) > _LONGEST_LIST:
            raise ModelError(f"{what} has {len(value)} entries in {path}; expected at most {_LONGEST_LIST}")
        for inner in value:
            _check(inner, what, path, finite, depth + 1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(value, what, path, name, finite)


def _check_number(value: float, what: str, path: str, name: str, finite: bool) -> None:
    if isinstance(value, float) and not math.isfinite(value) and (finite or name in _POSITIVE):
        raise ModelError(f"{what} has {path} = {value}; expected a finite number")
    if name in _POSITIVE and not 0 < value < 1e30:
        raise ModelError(f"{what} has {path} = {value}; expected a positive number")
    if name in _LARGEST and not 1 <= value <= _LARGEST[name]:
        raise ModelError(f"{what} has {path} = {value}; expected a number from 1 to {_LARGEST[name]}")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ModelError(f"{what} has {path} = {str(value)[:24]}...; expected a number below 2^63")


def check_token_ids(file: Path) -> None:
    """Refuse a tokenizer.json in which two tokens share an id: the tokenizers library reads it by chance.

    Raises:
        ModelError: it is damaged.
    """
    with reading(file, ModelError):
        content = json.loads(file.read_text(encoding="utf-8"))
        model = content.get("model") if isinstance(content, dict) else None
        vocabulary = model.get("vocab") if isinstance(model, dict) else None
        shared = isinstance(vocabulary, dict) and len(set(vocabulary.values())) < len(vocabulary)
    if shared:
        raise ModelError(f"{file} gives two tokens the same id; download it again")


def check_vocabulary(tokenizer: Any, vocab_size: int, what: str) -> None:
    """Refuse a tokenizer that gives token ids which the model has no embedding for.

    Raises:
        ModelError: the two do not belong together.
    """
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= vocab_size:
        raise ModelError(
            f"{what} has a tokenizer with token ids up to {largest}, but the model embeds {vocab_size} "
            "tokens; they do not belong together, use the model's own tokenizer"
        )
