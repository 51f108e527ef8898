"""A Hugging Face tokenizer.json -> the tokenizer keys of a GGUF file.

llama.cpp has its own tokenizers and knows each pre-tokenizer by name. Only the ones below are mapped; any
other is refused, because a wrong one splits text differently and nobody is told.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ...foreign import reading
from ...json_files import validated
from ..disk.model_files import load_tokenizer, read_object

__all__ = ["GgufTokenizer", "read_tokenizer"]

NORMAL, CONTROL, USER_DEFINED, BYTE, UNUSED = 1, 3, 4, 6, 5
LLAMA3_DIGITS = r"\p{N}{1,3}"
QWEN2_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"


@dataclass(frozen=True, kw_only=True)
class GgufTokenizer:
    """Tokens in id order and how llama.cpp has to treat them."""

    model: str  # "gpt2": byte-level BPE with merges; "llama": SentencePiece BPE with scores
    pre: str  # llama.cpp's name of the pre-tokenizer
    tokens: tuple[str, ...]
    token_types: tuple[int, ...]
    scores: tuple[float, ...]  # empty for gpt2
    merges: tuple[str, ...]  # empty for llama
    special_ids: dict[str, int]  # "bos", "eos", "unk", "pad" -> id
    add_bos: bool
    add_space_prefix: bool
    chat_template: str | None


@dataclass(frozen=True, kw_only=True)
class _Model:
    type: str | None = None
    vocab: dict[str, int] | list[Any]  # a list in kinds that are refused
    merges: list[str | list[str]] = field(default_factory=list)
    byte_fallback: bool | None = None


@dataclass(frozen=True, kw_only=True)
class _Added:
    id: int
    content: str
    special: bool


@dataclass(frozen=True, kw_only=True)
class _Step:
    """A pre-tokenizer, or a sequence of some."""

    type: str | None = None
    pretokenizers: "list[_Step] | None" = None
    pattern: dict[str, str] | None = None
    individual_digits: bool = False


@dataclass(frozen=True, kw_only=True)
class _Tokenizer:
    """What is read from tokenizer.json."""

    model: _Model
    added_tokens: list[_Added] = field(default_factory=list)
    pre_tokenizer: _Step | None = None


def read_tokenizer(directory: Path, vocab_size: int) -> GgufTokenizer:
    """Translate the tokenizer of a checkpoint directory.

    Args:
        directory: Holds tokenizer.json, tokenizer_config.json and perhaps chat_template.jinja.
        vocab_size: Rows of the embedding; missing tokens are filled with unused ones.

    Raises:
        ModelError: The tokenizer is of a kind that is not mapped.
    """
    path = directory / "tokenizer.json"
    data = validated(_Tokenizer, read_object(path), str(path), ModelError)
    loaded: Any = load_tokenizer(directory)
    model = data.model
    if model.type != "BPE":
        raise ModelError(f"a {model.type} tokenizer has no GGUF form here, expected BPE")
    sentencepiece = bool(model.byte_fallback)
    tokens, types = _tokens(data, vocab_size, sentencepiece)
    special = {"bos": loaded.bos_token_id, "eos": loaded.eos_token_id}
    special |= {"unk": loaded.unk_token_id, "pad": loaded.pad_token_id}
    with reading(directory, by="transformers"):  # its settings are looked at only when it is used
        first = loaded("a")["input_ids"][:1]
    return GgufTokenizer(
        model="llama" if sentencepiece else "gpt2",
        pre="default" if sentencepiece else _pre_tokenizer(data),
        tokens=tokens,
        token_types=types,
        scores=tuple(-float(index) for index in range(len(tokens))) if sentencepiece else (),
        merges=() if sentencepiece else tuple(_merge(pair) for pair in model.merges),
        special_ids={name: int(value) for name, value in special.items() if value is not None},
        add_bos=loaded.bos_token_id is not None and first == [loaded.bos_token_id],
        add_space_prefix=sentencepiece,
        chat_template=loaded.chat_template if isinstance(loaded.chat_template, str) else None,
    )


def _tokens(
    data: "_Tokenizer", vocab_size: int, sentencepiece: bool
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    vocabulary = data.model.vocab
    if isinstance(vocabulary, list):
        raise ModelError("the tokenizer's vocabulary is a list, expected tokens with their ids")
    names = {index: token for token, index in vocabulary.items()}
    types = dict.fromkeys(names, NORMAL)
    if sentencepiece:
        types |= {index: BYTE for index, token in names.items() if _is_byte(token)}
    for added in data.added_tokens:
        names[added.id] = added.content
        types[added.id] = CONTROL if added.special else USER_DEFINED
    if not names or min(names) < 0:
        raise ModelError("the tokenizer has no tokens, or negative ids; copy it from the original model")
    if max(names) >= vocab_size:
        raise ModelError(
            f"the tokenizer has id {max(names)}, the model's vocabulary ends at {vocab_size - 1}"
        )
    rows = range(vocab_size)
    return (
        tuple(names.get(index, f"[PAD{index}]") for index in rows),
        tuple(types.get(index, UNUSED) for index in rows),
    )


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _merge(pair: str | list[str]) -> str:
    return pair if isinstance(pair, str) else " ".join(pair)


def _pre_tokenizer(data: "_Tokenizer") -> str:
    """llama.cpp's name for the pre-tokenizer."""
    found = data.pre_tokenizer or _Step()
    steps = [found] if found.pretokenizers is None else found.pretokenizers
    kinds = [step.type for step in steps]
    patterns = [str((step.pattern or {}).get("Regex", "")) for step in steps if step.type == "Split"]
    if kinds == ["ByteLevel"]:
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and steps[0].individual_digits:
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and LLAMA3_DIGITS in patterns[0]:
        return "llama-bpe"
    if kinds == ["Split", "ByteLevel"] and patterns[0].startswith(QWEN2_WORDS):
        return "qwen2"
    raise ModelError(
        f"llama.cpp's name for the pre-tokenizer {' + '.join(map(str, kinds))} is not known here; known are "
        "those of GPT-2, SmolLM2, Llama 3 and Qwen2. A guess would split text wrongly, so no GGUF is written"
    )
