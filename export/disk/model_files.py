"""The files of an artefact, as export, serve and bench read them: few functions, each behind the gate.

Whatever is wrong with such a file, a reader here says which file and what; nothing else reads one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...compress.families.model_config import check_config
from ...compress.families.shape import standard_names
from ...compress.record.report import Widths
from ...errors import ModelError
from ...foreign import reading
from ...json_files import read_json, validated

if TYPE_CHECKING:
    from gguf import GGUFReader
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

__all__ = [
    "GENAI_CONFIG",
    "GenaiConfig",
    "is_onnx_directory",
    "load_config",
    "load_tokenizer",
    "open_gguf",
    "read_config",
    "read_genai_config",
    "read_object",
    "read_tensor",
]

GENAI_CONFIG = "genai_config.json"


@dataclass(frozen=True, kw_only=True)
class _Config:
    """The kinds of what is read from config.json; a model without one of them has None."""

    architectures: list[str] | None = None
    hidden_size: int | None = None
    intermediate_size: int | None = None
    ffn_dim: int | None = None
    num_hidden_layers: int | None = None
    num_attention_heads: int | None = None
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    vocab_size: int | None = None
    max_position_embeddings: int | None = None
    sliding_window: int | None = None
    dtype: str | None = None
    torch_dtype: str | None = None
    tie_word_embeddings: bool | None = None
    rms_norm_eps: float | None = None
    rope_parameters: dict[str, Any] | None = None
    quantization_config: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class GenaiDecoder:
    """The decoder in genai_config.json."""

    filename: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_size: int


@dataclass(frozen=True, kw_only=True)
class GenaiModel:
    """The model in genai_config.json."""

    decoder: GenaiDecoder
    vocab_size: int
    context_length: int
    type: str = "unknown"

    @property
    def widths(self) -> Widths:
        """The dimensions; such a file says nothing of the MLP's."""
        return Widths(
            hidden_size=self.decoder.hidden_size,
            intermediate_size=0,
            num_hidden_layers=self.decoder.num_hidden_layers,
            num_attention_heads=self.decoder.num_attention_heads,
            num_key_value_heads=self.decoder.num_key_value_heads,
            head_dim=self.decoder.head_size,
            vocab_size=self.vocab_size,
        )


@dataclass(frozen=True, kw_only=True)
class GenaiConfig:
    """What is read from genai_config.json; the rest of the file belongs to ONNX Runtime GenAI."""

    model: GenaiModel


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ModelError: The file is missing, damaged, or holds something else.
    """
    data = read_json(path, ModelError)
    if not isinstance(data, dict):
        raise ModelError(f"{path} holds a {type(data).__name__}, expected a JSON object")
    return data


def read_config(directory: Path, required: tuple[str, ...] = ()) -> dict[str, Any]:
    """The content of config.json: what we use under its usual name, of the right kind, within bounds.

    Args:
        directory: Of a Hugging Face checkpoint.
        required: Keys that must have a value.

    Raises:
        ModelError: It is missing or damaged, naming the key.
    """
    path = directory / "config.json"
    if not path.is_file():
        raise ModelError(f"{path} cannot be read: there is no such file; expected a Hugging Face checkpoint")
    config = standard_names(read_object(path))
    check_config(config, str(path), finite=False)
    known = validated(_Config, config, str(path), ModelError)
    for key in required:
        if getattr(known, key) in (None, []):
            raise ModelError(f"{path} lacks a usable {key!r}; expected a decoder-only language model")
    return config


def is_onnx_directory(directory: Path) -> bool:
    """Whether ONNX Runtime GenAI can open it."""
    return (directory / GENAI_CONFIG).is_file()


def read_genai_config(directory: Path) -> GenaiConfig:
    """What genai_config.json says about the model.

    Raises:
        ModelError: It is missing or damaged, naming the key, or names a graph outside its directory.
    """
    path = directory / GENAI_CONFIG
    found = validated(GenaiConfig, read_object(path), str(path), ModelError)
    decoder = found.model.decoder
    sizes = (decoder.hidden_size, decoder.num_hidden_layers, decoder.num_attention_heads, decoder.head_size)
    if min(*sizes, decoder.num_key_value_heads, found.model.vocab_size, found.model.context_length) < 1:
        raise ModelError(f"{path} has a size below 1; export the model again")
    if Path(decoder.filename).name != decoder.filename:
        raise ModelError(f"{path} names the graph {decoder.filename!r}; expected a file beside it")
    return found


def load_config(directory: Path) -> "PreTrainedConfig":
    """The config as transformers understands it.

    Raises:
        ModelError: It cannot.
    """
    read_config(directory)
    with reading(directory / "config.json", by="transformers"):
        from transformers import AutoConfig

        config: PreTrainedConfig = AutoConfig.from_pretrained(directory, local_files_only=True)
    return config


def load_tokenizer(directory: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer of a checkpoint or of an ONNX Runtime GenAI directory.

    Raises:
        ModelError: There is none, or it cannot be read.
    """
    advice = "copy it from the original model"
    with reading(f"the tokenizer of {directory}", by="transformers", advice=advice):
        from transformers import AutoTokenizer, PreTrainedTokenizerBase

        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def read_tensor(file: Path, name: str) -> "Tensor":
    """One tensor of a safetensors file, on the CPU.

    Raises:
        ModelError: The file is damaged or has no such tensor.
    """
    with reading(file, by="safetensors", advice="make or download it again"):
        from safetensors import safe_open

        with safe_open(file, framework="pt") as stream:
            tensor: Tensor = stream.get_tensor(name)
    return tensor


@contextmanager
def open_gguf(path: Path) -> "Iterator[GGUFReader]":
    """A GGUF file's keys and tensors; reading them belongs into the block, computing with them does not.

    Raises:
        ModelError: The file is no GGUF file, or damaged.
    """
    with reading(path, by="gguf", advice="it is not a GGUF file, or damaged: make or download it again"):
        from gguf import GGUFReader

        yield GGUFReader(path)
