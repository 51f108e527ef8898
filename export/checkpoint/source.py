"""What an export starts from: a finished checkpoint directory of ours, checked before any work."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...compress.families.rows import FAMILIES
from ...compress.weights.source import open_model
from ...errors import ManifestError, ModelError
from ...foreign import reading
from ..contract import manifest, reference
from ..contract.manifest import Manifest, Provenance
from ..disk.model_files import read_config

__all__ = ["ExportSource", "check_model", "copy_reference", "copy_tokenizer", "open_source"]

# Every name that a tokenizer of the supported families may consist of.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)


@dataclass(frozen=True, kw_only=True)
class ExportSource:
    """A checkpoint directory with its manifest and config."""

    directory: Path
    manifest: Manifest
    config: dict[str, Any]  # config.json

    @property
    def architecture(self) -> str:
        """The transformers class that the weights belong to."""
        return str(self.config["architectures"][0])

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weight files."""
        return sum(record.bytes for record in self.manifest.files.values())

    @property
    def provenance(self) -> Provenance:
        """What the manifest of an export says about this directory."""
        return Provenance(
            format=self.manifest.format,
            precision=self.manifest.precision,
            manifest_sha256=self.manifest.sha256,
        )


def open_source(directory: Path) -> ExportSource:
    """Read what an export needs to know, and refuse what cannot be exported.

    Raises:
        ManifestError: Not ours, not finished, or a file has another content than recorded.
        ModelError: The config or the tokenizer is missing or damaged.
    """
    record = manifest.read(directory)
    if record.format != "huggingface":
        raise ManifestError(
            f"{directory} holds {record.format} at {record.precision}, expected a checkpoint that "
            "`dotresize compress` wrote; export from that one, so that nothing is rounded twice"
        )
    _check_contents(directory, record)
    config = read_config(directory, ("architectures", "hidden_size", "head_dim"))
    if not (directory / "tokenizer.json").is_file():
        raise ModelError(f"{directory} has no tokenizer.json; copy it from the original model and retry")
    return ExportSource(directory=directory, manifest=record, config=config)


def check_model(source: ExportSource) -> None:
    """Refuse a checkpoint whose tensors are not exactly its config's, or whose tokenizer does not fit.

    Every tensor is read once, as none of the writers looks at values.

    Raises:
        ModelError: Naming what does not fit, or the tensor that holds values that are not finite.
    """
    from safetensors import safe_open

    known = {family.architecture for family in FAMILIES.values()}
    opened = open_model(str(source.directory), any_family=source.architecture not in known)
    for file in opened.files:
        with reading(file, by="safetensors"), safe_open(file, framework="pt") as stream:
            for name in stream.keys():  # noqa: SIM118  # safe_open has no other iterator
                if not bool(stream.get_tensor(name).isfinite().all()):
                    raise ModelError(
                        f"{file} holds values that are not finite in {name}; its weights are broken, make "
                        "the directory again"
                    )


def _check_contents(directory: Path, record: Manifest) -> None:
    """Every weight file is the one that was written: reading it once costs little beside an export."""
    for name, recorded in record.files.items():
        path = directory / name
        found = path.stat().st_size if path.is_file() else None
        if found != recorded.bytes:
            raise ManifestError(
                f"{path} has {found if found is not None else 'no file, no'} bytes, expected "
                f"{recorded.bytes}: the directory is damaged or not finished, make it again"
            )
        if manifest.file_record(path) != recorded:
            raise ManifestError(
                f"{path} has another content than when it was written; make the directory again"
            )


def copy_reference(source: ExportSource, target: Path) -> str:
    """Let the reference logits travel along; returns their hash."""
    reference.load(source.directory)
    shutil.copytree(source.directory / reference.FOLDER, target / reference.FOLDER)
    return reference.sha256(target)


def copy_tokenizer(source: ExportSource, target: Path) -> None:
    """Copy the tokenizer and the chat template as they are."""
    for name in TOKENIZER_FILES:
        if (source.directory / name).is_file():
            shutil.copyfile(source.directory / name, target / name)
