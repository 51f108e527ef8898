"""What a directory is, read from disk before any engine starts, and what an engine could not hold.

Everything here takes milliseconds, so a user learns of a truncated file or an impossible split at once
and not after an engine has loaded for a minute.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from ...compress.families.shape import widths_of
from ...compress.record.report import Widths
from ...errors import ModelError
from ...export.contract.manifest import Manifest, read_if_any
from ...export.disk.model_files import read_config, read_object
from ...foreign import reading
from ...json_files import validated

__all__ = ["DTYPE_BYTES", "ModelFacts", "check_weight_files", "read_facts"]

LENGTH_BYTES = 8  # a safetensors file starts with the length of its header
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, kw_only=True)
class ModelFacts(Widths):
    """The numbers of one Hugging Face checkpoint that decide how it can be served."""

    max_position_embeddings: int | None
    dtype: str  # of the stored weights
    weight_bytes: int
    manifest: Manifest | None  # None for a model that dotresize did not write

    def kv_cache_bytes_per_token(self, dtype: str) -> int:
        """Keys and values of one token in all layers."""
        return self.cache_elements_per_token * DTYPE_BYTES[dtype]


@dataclass(frozen=True, kw_only=True)
class _Index:
    """What is read from the index of several weight files."""

    weight_map: dict[str, str]


def read_facts(directory: Path) -> ModelFacts:
    """Read `config.json`, the manifest when there is one, and the sizes of the weight files.

    Raises:
        ModelError: Not a checkpoint, or a damaged one.
        ManifestError: The manifest is damaged or from a newer version.
    """
    if not directory.is_dir():
        raise ModelError(
            f"{directory} is not a directory; expected the output of `dotresize compress`, or a model "
            "on the disk: `hf download NAME --local-dir DIR` fetches one"
        )
    config = read_config(directory, ("num_attention_heads", "hidden_size", "num_hidden_layers", "vocab_size"))
    weights = check_weight_files(directory)
    return ModelFacts(
        **vars(widths_of(config)),
        max_position_embeddings=config.get("max_position_embeddings"),
        dtype=config.get("dtype") or config.get("torch_dtype") or "float32",
        weight_bytes=sum(path.stat().st_size for path in weights),
        manifest=read_if_any(directory),
    )


def check_weight_files(directory: Path) -> tuple[Path, ...]:
    """Find the safetensors files and compare each one's length with what its header promises.

    Raises:
        ModelError: None is there, one that the index names is missing, or one is truncated.
    """
    found = tuple(sorted(directory.glob("*.safetensors")))
    index = directory / "model.safetensors.index.json"
    if index.exists():
        content = validated(_Index, read_object(index), str(index), ModelError)
        named = sorted(set(content.weight_map.values()))
        missing = [name for name in named if Path(name).name != name or not (directory / name).exists()]
        if missing:
            raise ModelError(f"{directory} lacks weight files that its index names: {', '.join(missing)}")
    if not found:
        raise ModelError(
            f"{directory} holds no safetensors weights; expected the output of `dotresize compress`"
        )
    for path in found:
        _check_length(path)
    return found


def _check_length(path: Path) -> None:
    with reading(
        path,
        by="safetensors",
        advice="it is not a safetensors file, or damaged: copy or make the model again",
    ):
        if not path.is_file():  # a pipe would keep the reader waiting
            raise ModelError(f"{path} is not a regular file; copy or make the model again")
        actual_bytes = path.stat().st_size
        with path.open("rb") as stream:
            (header_bytes,) = struct.unpack("<Q", stream.read(LENGTH_BYTES))
            if header_bytes > actual_bytes:
                raise ModelError(
                    f"{path} is not a safetensors file: its header does not fit in the file; copy or make "
                    "the model again"
                )
            header = json.loads(stream.read(header_bytes))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        data_bytes = int(max(ends, default=0))
    expected_bytes = LENGTH_BYTES + header_bytes + data_bytes
    if actual_bytes != expected_bytes:
        raise ModelError(
            f"{path} is damaged: {actual_bytes} bytes, its header promises {expected_bytes}; "
            "copy or make the model again"
        )
