"""`dotresize.json`: the versioned contract between the stages.

Every directory that dotresize writes holds one. Export, serve and bench read it and nothing else of
ours. It holds no time stamps, durations or absolute paths: the same inputs give the same bytes.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ...compress.record.report import Report
from ...compress.weights.file_hash import file_sha256, files_sha256
from ...errors import ManifestError
from ...json_files import read_json, validated
from ...version import __version__
from ..disk.staging import write_atomically
from .adaptation import Adaptation
from .quantisation import Quantisation
from .recovery import Recovery

__all__ = [
    "MANIFEST_NAME",
    "SCHEMA_VERSION",
    "Check",
    "FileRecord",
    "Manifest",
    "Provenance",
    "file_record",
    "read",
    "read_if_any",
    "write",
]

MANIFEST_NAME = "dotresize.json"
SCHEMA_VERSION = 1
FORMATS = ("huggingface", "onnx", "gguf", "vllm", "adapter")


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """Size and content hash of one weight file."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The directory that an export was made from."""

    format: str
    precision: str
    manifest_sha256: str  # `Manifest.sha256` of that directory: unchanged by verifying it


@dataclass(frozen=True, kw_only=True)
class Check:
    """One comparison that `dotresize verify` made."""

    name: str  # what was compared, e.g. "logits"
    runtime: str  # what ran it, e.g. "transformers 5.19.0"
    measured: dict[str, float | int | str]
    limits: dict[str, float | int]
    passed: bool
    note: str  # one line for people; empty when the numbers say it all


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a directory is, where it came from, and what has been proven about it.

    Raises:
        ManifestError: `format` is unknown, or a file is not in the directory.
    """

    schema_version: int = SCHEMA_VERSION
    tool_version: str = __version__
    format: str  # "huggingface" | "onnx" | "gguf" | "vllm" | "adapter"
    precision: str  # of the stored weights, e.g. "bfloat16", "int4", "q8_0"
    provider: str | None = None  # ONNX execution provider, None elsewhere
    report: Report | None = None  # None for a source that dotresize did not compress
    quality: dict[str, Any] | None = None  # measured perplexities, passed in by the caller
    source: Provenance | None = None  # None for a directory that compress wrote
    recovery: Recovery | None = None  # None for weights that were not trained afterwards
    quantisation: Quantisation | None = None  # None for floats, and for formats that round in one way only
    adaptation: Adaptation | None = None  # of an adapter
    files: dict[str, FileRecord]
    reference: str | None  # sha256 over the reference files
    verification: tuple[Check, ...] = ()

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ManifestError(f"unknown format {self.format!r}, expected one of {', '.join(FORMATS)}")
        for name in self.files:
            if Path(name).name != name:
                raise ManifestError(f"it names the file {name!r}, expected files beside the manifest")

    @property
    def sha256(self) -> str:
        """Hash of what the directory is; recording a verification does not change it."""
        return hashlib.sha256(_to_json(replace(self, verification=())).encode()).hexdigest()

    @property
    def verified(self) -> bool | None:
        """Whether every recorded check passed; None when none was made."""
        return all(check.passed for check in self.verification) if self.verification else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Manifest":
        """Inverse of `to_dict`.

        Raises:
            ManifestError: A newer schema version, or keys that are missing or of the wrong kind.
        """
        version = data.get("schema_version")
        if not isinstance(version, int) or version < 1:
            raise ManifestError(
                f"schema_version is {version!r}, expected a whole number from 1 to {SCHEMA_VERSION}"
            )
        if version > SCHEMA_VERSION:
            raise ManifestError(
                f"schema version {version} is newer than this dotresize ({__version__}) reads (up to "
                f"{SCHEMA_VERSION}); written by dotresize {data.get('tool_version', 'unknown')}, upgrade"
            )
        later = ("recovery", "quantisation", "adaptation")  # than the first release of this version
        missing = [each.name for each in fields(cls) if each.name not in data and each.name not in later]
        if missing:
            raise ManifestError(f"it does not follow schema version {version}: {missing[0]!r} is missing")
        return validated(cls, data, f"schema version {version}")


def read(directory: Path) -> Manifest:
    """Read the manifest of `directory`.

    Raises:
        ManifestError: There is none, it is damaged, or a newer dotresize wrote it.
    """
    path = directory / MANIFEST_NAME
    if not path.exists():
        raise ManifestError(
            f"{directory} has no {MANIFEST_NAME}: not written by dotresize, or not finished; "
            "expected the output of `dotresize compress` or `dotresize export`"
        )
    data = read_json(path)
    if not isinstance(data, dict):
        raise ManifestError(
            f"{path} holds a {type(data).__name__}, expected a JSON object; make the directory again"
        )
    try:
        return Manifest.from_dict(data)
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}; make the directory again") from error


def read_if_any(directory: Path) -> Manifest | None:
    """The manifest, or None when the directory has none.

    Raises:
        ManifestError: It is damaged or from a newer version.
    """
    return read(directory) if (directory / MANIFEST_NAME).exists() else None


def write(manifest: Manifest, directory: Path) -> None:
    """Write the manifest into `directory`, replacing an older one in one step.

    Raises:
        OutputError: The file cannot be written.
    """
    write_atomically(directory / MANIFEST_NAME, _to_json(manifest))


def file_record(path: Path) -> FileRecord:
    """Hash one file."""
    return FileRecord(bytes=path.stat().st_size, sha256=file_sha256(path))


def digest(records: Iterable[tuple[str, FileRecord]]) -> str:
    """One hash over several named files."""
    return files_sha256((name, record.sha256) for name, record in records)


def _to_json(manifest: Manifest) -> str:
    return (
        json.dumps(manifest.to_dict(), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    )
