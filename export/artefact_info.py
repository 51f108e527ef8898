"""What is this directory or file? Works for everything that dotresize writes, and for foreign models."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..compress.families.shape import known_widths
from ..compress.record.report import Report
from ..compress.weights.files import read_headers
from ..errors import ModelError
from .contract.adaptation import Adaptation
from .contract.manifest import Manifest, read_if_any
from .disk.model_files import is_onnx_directory, open_gguf, read_config, read_genai_config
from .for_gguf.to_gguf import record_directory

__all__ = ["ArtefactInfo", "inspect_artefact"]

_GGUF_KEYS = {
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
    format: str  # "huggingface", "onnx", "gguf", "vllm", "adapter"
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
    record = read_if_any(path)
    if is_onnx_directory(path):
        return _onnx(path, record)
    if (path / "config.json").is_file():
        return _checkpoint(path, record)
    if record is not None and record.adaptation is not None:
        return _adapter(path, record, record.adaptation)
    raise ModelError(
        f"{path} has neither config.json nor genai_config.json; expected a Hugging Face checkpoint, an ONNX "
        "Runtime GenAI directory, or a .gguf file"
    )


def _checkpoint(path: Path, record: Manifest | None) -> ArtefactInfo:
    config = read_config(path)
    headers = read_headers(sorted(path.glob("*.safetensors"))).values()
    dtypes = {header.dtype.lower() for header in headers}
    quantised = config.get("quantization_config") is not None
    return ArtefactInfo(
        path=str(path),
        format=record.format if record else "huggingface",
        precision=record.precision if record else "+".join(sorted(dtypes)) or "unknown",
        ours=record is not None,
        architecture=(config.get("architectures") or ["unknown"])[0],
        widths=known_widths(config),
        parameters=_recorded_parameters(record)
        if quantised
        else sum(math.prod(header.shape) for header in headers),
        weight_bytes=sum(shard.stat().st_size for shard in path.glob("*.safetensors")),
        provenance=_provenance(record),
        verification=_verification(record),
    )


def _adapter(path: Path, record: Manifest, found: Adaptation) -> ArtefactInfo:
    return ArtefactInfo(
        path=str(path),
        format=record.format,
        precision=record.precision,
        ours=True,
        architecture=f"LoRA of rank {found.rank} for {found.base}",
        widths={},
        parameters=None,
        weight_bytes=sum(file.bytes for file in record.files.values()),
        provenance=_provenance(record),
        verification=f"KL to {found.teacher} on held-out text {found.held_out_kl_before:.4f} -> "
        f"{found.held_out_kl:.4f}",
    )


def _onnx(path: Path, record: Manifest | None) -> ArtefactInfo:
    model = read_genai_config(path).model
    inner = record.report.narrow.intermediate_size if record and record.report else 0
    widths = replace(model.widths, intermediate_size=inner)
    return ArtefactInfo(
        path=str(path),
        format="onnx",
        precision=f"{record.precision} for {record.provider}" if record else "unknown",
        ours=record is not None,
        architecture=model.type,
        widths={name: width for name, width in vars(widths).items() if width},
        parameters=_recorded_parameters(record),
        weight_bytes=sum(file.stat().st_size for file in path.glob("*.onnx*")),
        provenance=_provenance(record),
        verification=_verification(record),
    )


def _gguf(path: Path) -> ArtefactInfo:
    record = read_if_any(record_directory(path))
    with open_gguf(path) as reader:
        values = {
            key: found.contents()
            for key, found in reader.fields.items()
            if found.types and "token" not in key
        }
        kinds = {tensor.tensor_type.name.lower() for tensor in reader.tensors if len(tensor.shape) > 1}
        parameters = sum(int(tensor.n_elements) for tensor in reader.tensors)
    architecture = str(values.get("general.architecture", "unknown"))
    widths = {name: values.get(f"{architecture}.{key}") for name, key in _GGUF_KEYS.items()}
    return ArtefactInfo(
        path=str(path),
        format="gguf",
        precision=record.precision if record else "+".join(sorted(kinds)),
        ours=record is not None,
        architecture=architecture,
        widths={name: value for name, value in widths.items() if isinstance(value, int)},
        parameters=parameters,
        weight_bytes=path.stat().st_size,
        provenance=_provenance(record),
        verification=_verification(record),
    )


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
        chain.append(_narrowing(record.report))
    if record.recovery is not None:
        point = next(each for each in record.recovery.curve if each.step == record.recovery.best_step)
        chain.append(f"recovered from {record.recovery.teacher} on {point.tokens:,} tokens")
    if record.source is not None:
        parent = record.source
        chain.append(f"{parent.format} {parent.precision} (manifest {parent.manifest_sha256[:12]})")
    chain.append(f"{record.format} {record.precision} (manifest {record.sha256[:12]})")
    return tuple(chain)


def _narrowing(report: Report) -> str:
    """Widths before and after; of heads and depth only what changed."""
    dense, narrow = report.dense, report.narrow
    text = f"compressed {dense.hidden_size}/{dense.intermediate_size} to "
    text += f"{narrow.hidden_size}/{narrow.intermediate_size} (hidden/MLP)"
    for name, width in (
        ("key-value groups", "num_key_value_heads"),
        ("layers", "num_hidden_layers"),
        ("experts", "num_experts"),
    ):
        before, after = getattr(dense, width), getattr(narrow, width)
        if before != after:
            text += f", {before} to {after} {name}"
    return text


def _verification(record: Manifest | None) -> str:
    if record is None or record.verified is None:
        return "not recorded"
    runtimes = sorted({check.runtime for check in record.verification if check.runtime != "files"})
    if record.verified:
        return f"passed: {len(record.verification)} checks with {', '.join(runtimes)}"
    missed = [f"{check.name} ({check.runtime})" for check in record.verification if not check.passed]
    return f"MISSED: {', '.join(missed)}"
