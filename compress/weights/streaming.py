"""A model whose weights stay in their files: each is looked at once, and read when it is needed."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...errors import ModelError
from ...foreign import reading
from ..families.family import Family
from ..families.hollow import hollow_model
from .file_hash import files_sha256
from .files import hash_of, match_prefix, read_headers
from .parts import FileWeights, read_tensors
from .values import check_value, untied

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel

__all__ = ["can_stream", "generation_config_of", "look_at_files", "open_files"]

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def can_stream(hollow: "PreTrainedModel", family: Family, files: list[Path]) -> bool:
    """Whether a model can be read a part at a time.

    Not where files name or stack tensors in another way than memory does, are pickles, or where a layer
    carries values that are in no file.
    """
    if not family.stored_as_named or any(file.suffix != ".safetensors" for file in files):
        return False
    layers = hollow.get_submodule(family.layers)
    return not hollow._keep_in_fp32_modules_strict and not list(layers.buffers())


def open_files(
    config: "PreTrainedConfig", family: Family, files: list[Path], what: str
) -> FileWeights | None:
    """The weights in their files; None when they have to be loaded as a whole.

    Args:
        config: as transformers read it.
        family: its row.
        files: of `weight_files`, their headers checked.
        what: names the model in errors.

    Raises:
        ModelError: a file is damaged.
    """
    by_file = {file: read_headers([file]) for file in files}
    first = next(header for headers in by_file.values() for header in headers.values())
    dtype = config.dtype or _DTYPES[first.dtype]
    with reading(what, ModelError, by="transformers"):
        hollow = hollow_model(config, dtype=dtype, runs=True)
    hollow.requires_grad_(False).eval()
    if hollow.dtype == torch.float64:  # no runtime serves it, and layers are narrowed in float32
        hollow.float()
    if not can_stream(hollow, family, files):
        return None
    names = set(hollow.state_dict())
    found = {name: file for file, headers in by_file.items() for name in headers}
    prefix = match_prefix(found, names)
    places = {prefix + name: (file, name) for name, file in found.items() if prefix + name in names}
    head, embedding = f"{family.head}.weight", f"{family.embedding}.weight"
    if config.tie_word_embeddings:
        _check_tie(places, head, embedding, hollow.dtype, what)
        places[head] = places[embedding]
    return FileWeights(hollow=hollow, places=places)


def _check_tie(
    places: dict[str, tuple[Path, str]], head: str, embedding: str, dtype: torch.dtype, what: str
) -> None:
    """Refuse a stored head that differs from the embedding; one alone stands for both."""
    if embedding not in places:
        places[embedding] = places[head]
    if head in places and places[head] != places[embedding]:
        (_, first), (_, second) = read_tensors({head: places[head], embedding: places[embedding]})
        if not torch.equal(first.to(dtype), second.to(dtype)):
            raise untied(what)


def look_at_files(weights: FileWeights, files: list[Path], what: str) -> str:
    """Hash every file, and look at every weight once, file by file; returns one hash over all of them.

    Raises:
        ModelError: naming a tensor that is not finite or carries nothing.
    """
    hashes = []
    dtypes = {name: tensor.dtype for name, tensor in weights.hollow.state_dict().items()}
    for file in files:
        hashes.append((file.name, hash_of(file)))
        inside = {name: place for name, place in weights.places.items() if place[0] == file}
        for name, place in inside.items():  # one at a time: what has been read of an open file stays mapped
            ((_, values),) = read_tensors({name: place})
            check_value(name, values.to(dtypes[name]), what, degenerate=True)
    return files_sha256(hashes)


def generation_config_of(directory: Path, what: str) -> "GenerationConfig":
    """The generation config that transformers gives a model of this directory.

    Raises:
        ModelError: it cannot be read.
    """
    with reading(what, ModelError, by="transformers"):
        from transformers import GenerationConfig

        try:
            found: GenerationConfig = GenerationConfig.from_pretrained(directory)
        except OSError:  # there is none, or none that it reads: then the model's config says
            found = GenerationConfig.from_pretrained(
                directory, config_file_name="config.json", _from_model_config=True
            )
    return found
