"""What is this directory or file? Works for everything that dotresize writes, and for foreign models."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ManifestError, ModelError
from . import manifest
from .manifest import MANIFEST_NAME, Manifest
from .to_gguf import record_directory

__all__ = ["ArtefactInfo", "inspect_artefact"]

_WIDTHS = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "vocab_size": "vocab_size",
}


@dataclass(frozen=True, kw_only=True)
class ArtefactInfo:
    """What can be said about an artefact without running it."""

    path: str
    format: str  # "huggingface", "onnx", "gguf", "vllm"
    precision: str
    ours: bool  # has a manifest of ours
    architecture: str
    widths: dict[str, int]
    parameters: int | None  # None where the file does not say, as in a foreign ONNX graph
    weight_bytes: int
    provenance: tuple[str, ...] = field(default=())  # from the dense source to this artefact
    verification: str = "not recorded"


def inspect_artefact(path: Path) -> ArtefactInfo:
    """Describe a directory or a GGUF file.

    Raises:
        ModelError: Nothing is there, or it is of no format that is known here.
        ManifestError: Its manifest is damaged or newer than this version.
    """
    if path.is_file():
        return _gguf(path)
    if not path.is_dir():
        raise ModelError(f"{path} does not exist; expected a model directory or a .gguf file")
    record = manifest.read(path) if (path / MANIFEST_NAME).exists() else None
    if (path / "genai_config.json").is_file():
        return _onnx(path, record)
    if (path / "config.json").is_file():
        return _checkpoint(path, record)
    raise ModelError(
        f"{path} has neither config.json nor genai_config.json; expected a Hugging Face checkpoint, an ONNX "
        "Runtime GenAI directory, or a .gguf file"
    )


def _checkpoint(path: Path, record: Manifest | None) -> ArtefactInfo:
    config = _json(path / "config.json")
    shards = sorted(path.glob("*.safetensors"))
    parameters, dtypes = _count(shards)
    quantised = config.get("quantization_config") is not None
    return ArtefactInfo(
        path=str(path),
        format=record.format if record else "huggingface",
        precision=record.precision if record else "+".join(sorted(dtypes)) or "unknown",
        ours=record is not None,
        architecture=(config.get("architectures") or ["unknown"])[0],
        widths={name: int(config[name]) for name in _WIDTHS if config.get(name) is not None},
        parameters=_recorded_parameters(record) if quantised else parameters,
        weight_bytes=sum(shard.stat().st_size for shard in shards),
        provenance=_provenance(record),
        verification=_verification(record),
    )


def _count(shards: list[Path]) -> tuple[int, set[str]]:
    """Parameters and dtypes, from the headers alone."""
    from safetensors import SafetensorError, safe_open

    parameters, dtypes = 0, set()
    for shard in shards:
        try:
            with safe_open(shard, framework="numpy") as stream:
                for name in stream.keys():  # noqa: SIM118 - safe_open has no other iterator
                    part = stream.get_slice(name)
                    parameters += math.prod(part.get_shape())
                    dtypes.add(str(part.get_dtype()).lower())
        except SafetensorError as error:
            raise ModelError(f"{shard} is damaged: {error}; make or download it again") from error
    return parameters, dtypes


def _onnx(path: Path, record: Manifest | None) -> ArtefactInfo:
    config = _json(path / "genai_config.json")
    decoder = config.get("model", {}).get("decoder", {})
    names = {"head_dim": "head_size"}
    widths = {name: decoder[names.get(name, name)] for name in _WIDTHS if names.get(name, name) in decoder}
    widths |= {"vocab_size": config["model"]["vocab_size"]} if "vocab_size" in config.get("model", {}) else {}
    if record is not None and record.report is not None:
        widths["intermediate_size"] = record.report.narrow.intermediate_size
    return ArtefactInfo(
        path=str(path),
        format="onnx",
        precision=f"{record.precision} for {record.provider}" if record else "unknown",
        ours=record is not None,
        architecture=str(config.get("model", {}).get("type", "unknown")),
        widths={name: int(value) for name, value in widths.items()},
        parameters=_recorded_parameters(record),
        weight_bytes=sum(file.stat().st_size for file in path.glob("*.onnx*")),
        provenance=_provenance(record),
        verification=_verification(record),
    )


def _gguf(path: Path) -> ArtefactInfo:
    from gguf import GGUFReader

    beside = record_directory(path)
    record = manifest.read(beside) if (beside / MANIFEST_NAME).exists() else None
    try:
        reader = GGUFReader(path)
    except (ValueError, OSError, KeyError, IndexError) as error:
        raise ModelError(f"{path} is not a GGUF file, or damaged ({error}); expected a .gguf file") from error
    values = {
        key: found.contents() for key, found in reader.fields.items() if found.types and "token" not in key
    }
    architecture = str(values.get("general.architecture", "unknown"))
    widths = {name: values.get(f"{architecture}.{key}") for name, key in _WIDTHS.items()}
    kinds = {tensor.tensor_type.name.lower() for tensor in reader.tensors if len(tensor.shape) > 1}
    return ArtefactInfo(
        path=str(path),
        format="gguf",
        precision=record.precision if record else "+".join(sorted(kinds)),
        ours=record is not None,
        architecture=architecture,
        widths={name: int(value) for name, value in widths.items() if value is not None},
        parameters=sum(int(tensor.n_elements) for tensor in reader.tensors),
        weight_bytes=path.stat().st_size,
        provenance=_provenance(record),
        verification=_verification(record),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}); make or download it again") from error
    if not isinstance(data, dict):
        raise ManifestError(f"{path} holds a {type(data).__name__}, expected a JSON object")
    return data


def _recorded_parameters(record: Manifest | None) -> int | None:
    return record.report.narrow_counts.total_parameters if record and record.report else None


def _provenance(record: Manifest | None) -> tuple[str, ...]:
    """The chain of artefacts, dense source first."""
    if record is None:
        return ()
    chain = []
    if record.report is not None:
        source = record.report.source
        origin = f", dequantised from {source.dequantised_from}" if source.dequantised_from else ""
        chain.append(f"{source.name} ({source.kind}{origin}, sha256 {source.sha256[:12]})")
        widths = f"{record.report.dense.hidden_size}/{record.report.dense.intermediate_size}"
        narrow = f"{record.report.narrow.hidden_size}/{record.report.narrow.intermediate_size}"
        chain.append(f"compressed {widths} to {narrow} (hidden/MLP)")
    if record.source is not None:
        parent = record.source
        chain.append(f"{parent.format} {parent.precision} (manifest {parent.manifest_sha256[:12]})")
    chain.append(f"{record.format} {record.precision} (manifest {record.sha256[:12]})")
    return tuple(chain)


def _verification(record: Manifest | None) -> str:
    if record is None or record.verified is None:
        return "not recorded"
    runtimes = sorted({check.runtime for check in record.verification if check.runtime != "files"})
    if record.verified:
        return f"passed: {len(record.verification)} checks with {', '.join(runtimes)}"
    missed = [f"{check.name} ({check.runtime})" for check in record.verification if not check.passed]
    return f"MISSED: {', '.join(missed)}"
