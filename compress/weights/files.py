"""The files that hold a model's weights: which ones are read, where they may lie, what their headers say.

The order is the one of transformers: one safetensors file, an index of shards, then the same for pickles.
"""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from ...errors import ModelError
from ...foreign import reading
from ...json_files import read_json
from .file_hash import file_sha256, files_sha256

__all__ = [
    "TensorHeader",
    "check_headers",
    "hash_of",
    "match_prefix",
    "read_headers",
    "sha256_of",
    "weight_files",
]

_NAMES = ("model.safetensors", "pytorch_model.bin")
_FLOATS = {"F64", "F32", "F16", "BF16"}
_IGNORED = re.compile(r"rotary_emb\.inv_freq$")  # computed from the config; old files store it
_TORCH_NAMES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}


class TensorHeader(NamedTuple):
    """What a file says about one tensor."""

    shape: tuple[int, ...]
    dtype: str  # as safetensors writes it, e.g. "BF16"


def weight_files(directory: Path) -> list[Path]:
    """The weight files of a model directory, in name order.

    Raises:
        ModelError: there are none, an index is damaged, or an entry leads out of the directory. Links inside
            a hub cache may point to the blobs of the same model.
    """
    for name in _NAMES:
        if (directory / name).is_file():
            return [_inside(directory, name, name)]
        index = f"{name}.index.json"
        if (directory / index).is_file():
            return [_inside(directory, shard, index) for shard in _shards(directory / index)]
    raise ModelError(
        f"{directory} holds no weights; expected model.safetensors, its shards with an index, or "
        "pytorch_model.bin"
    )


def _shards(index: Path) -> list[str]:
    content = read_json(index, ModelError)
    entries = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise ModelError(f"{index} has no weight_map; expected tensor names and the files that hold them")
    for name, shard in entries.items():
        if not isinstance(shard, str) or not shard or "\0" in shard:
            raise ModelError(f"{index} names no file for {name}; download it again")
    return sorted(set(entries.values()))


def _inside(directory: Path, name: str, named_by: str) -> Path:
    path = directory / name
    allowed = directory.resolve()
    if allowed.parent.name == "snapshots" and allowed.parent.parent.name.startswith("models--"):
        allowed = allowed.parent.parent  # a hub cache: snapshots link to blobs
    with reading(path, ModelError):
        leaves = not path.resolve().is_relative_to(allowed) or ".." in Path(name).parts
    if leaves or Path(name).is_absolute():
        raise ModelError(
            f"{directory / named_by} names {name}, which lies outside the model's directory; expected files "
            "beside it (copy linked files in)"
        )
    if not path.is_file():
        raise ModelError(f"{path} is missing; {named_by} names it, so download the model again")
    return path


def sha256_of(files: list[Path]) -> str:
    """One hash over the names and the content of files."""
    return files_sha256((file.name, hash_of(file)) for file in files)


def hash_of(file: Path) -> str:
    """The hash of one file.

    Raises:
        ModelError: it cannot be read.
    """
    with reading(file, ModelError):
        return file_sha256(file)


def read_headers(files: list[Path]) -> dict[str, TensorHeader]:
    """Name, shape and dtype of every tensor, without reading one.

    Raises:
        ModelError: a file is damaged, or a pickle holds more than tensors.
    """
    headers: dict[str, TensorHeader] = {}
    for file in files:
        read = _safetensors_headers if file.suffix == ".safetensors" else _pickle_headers
        headers |= read(file)
    return headers


def _safetensors_headers(file: Path) -> dict[str, TensorHeader]:
    from safetensors import safe_open

    headers = {}
    with (
        reading(file, ModelError, by="safetensors", advice="make or download it again"),
        safe_open(file, framework="numpy") as stream,
    ):
        for name in stream.keys():  # noqa: SIM118  # safe_open has no other iterator
            part = stream.get_slice(name)
            headers[name] = TensorHeader(tuple(part.get_shape()), str(part.get_dtype()))
    return headers


def _pickle_headers(file: Path) -> dict[str, TensorHeader]:
    import torch

    advice = (
        "only tensors are read from a pickle; convert it to safetensors where you trust it: "
        "AutoModelForCausalLM.from_pretrained(DIRECTORY).save_pretrained(NEW)"
    )
    with reading(file, ModelError, by="torch", advice=advice):
        content = torch.load(file, map_location="meta", weights_only=True)
        if not isinstance(content, dict):
            raise ModelError(f"{file} holds a {type(content).__name__}; expected tensors by name; {advice}")
        return {
            str(name): TensorHeader(tuple(tensor.shape), _dtype_name(tensor))
            for name, tensor in content.items()
        }


def _dtype_name(tensor: object) -> str:
    name = str(getattr(tensor, "dtype", "")).removeprefix("torch.")
    return _TORCH_NAMES.get(name, name)


def check_headers(
    headers: Mapping[str, TensorHeader], expected: Mapping[str, tuple[int, ...]], tied: set[str], what: str
) -> None:
    """Refuse files whose tensors are not exactly the model's: transformers fills gaps with random values.

    Args:
        headers: from `read_headers`.
        expected: name -> shape of every parameter of the model that the config describes.
        tied: names that may be missing, because they share another one's tensor.
        what: names the model in the error.

    Raises:
        ModelError: naming the tensors that are missing, unknown, of another shape, or no floats.
    """
    prefix = match_prefix(headers, expected)
    found = {prefix + name: header for name, header in headers.items() if not _IGNORED.search(name)}
    problems = [
        _listed("lacks", sorted(set(expected) - set(found) - tied)),
        _listed("has unknown", sorted(set(found) - set(expected))),
        *(
            f"has {name} as {json.dumps(found[name].shape)}, the config says {json.dumps(expected[name])}"
            for name in sorted(set(found) & set(expected))
            if found[name].shape != expected[name]
        ),
        *(
            f"has {name} in {header.dtype}, expected floats of 16 bits or more"
            for name, header in sorted(found.items())
            if header.dtype not in _FLOATS
        ),
    ]
    if problems := [problem for problem in problems if problem]:
        raise ModelError(
            f"{what}: the file with its weights does not fit its config.json: it {problems[0]}; "
            "expected exactly the tensors of the model, download or make it again"
        )


def match_prefix(stored: Collection[str], expected: Collection[str]) -> str:
    """What stored names lack. Files of a bare decoder leave the `model.` out; transformers reads both."""
    bare = stored and not any(name in expected for name in stored)
    return "model." if bare and any(f"model.{name}" in expected for name in stored) else ""


def _listed(verb: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{verb} {', '.join(names[:3])}{more}"
