"""A quantised export for vLLM as a model in memory: the floats that its weights stand for."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...compress.record.report import Source
from ...compress.weights.dense import DenseModel
from ...compress.weights.file_hash import files_sha256
from ..contract import manifest
from ..contract.manifest import MANIFEST_NAME
from ..disk.model_files import load_config, load_tokenizer, read_config
from .quantise import dequantised

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

__all__ = ["QuantisedExport", "open_quantised"]


class QuantisedExport:
    """A directory of ours; everything is read when it is asked for."""

    def __init__(self, path: Path) -> None:
        """Take a directory that `open_quantised` has looked at."""
        self.path = path

    @cached_property
    def config(self) -> "PreTrainedConfig":
        """As transformers understands it."""
        return load_config(self.path)

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """That travels with it."""
        return load_tokenizer(self.path)

    @property
    def source(self) -> Source:
        """Name and hash; the precision stands as what it was dequantised from."""
        record = manifest.read(self.path)
        return Source(
            name=self.path.resolve().name,
            kind="directory",
            model_type=self.config.model_type,
            architecture=str(read_config(self.path, ("architectures",))["architectures"][0]),
            sha256=files_sha256((name, file.sha256) for name, file in record.files.items()),
            dequantised_from=record.precision,
            licence=None,
        )

    def load(self) -> DenseModel:
        """Read the weights, float32.

        Raises:
            ModelError: they cannot be read.
        """
        return DenseModel(
            model=dequantised(self.path), tokenizer=self.tokenizer, generation_config=None, source=self.source
        )


def open_quantised(spec: str) -> QuantisedExport | None:
    """A MODEL that names such a directory; None where it names something else."""
    path = Path(spec).expanduser()
    ours = (path / MANIFEST_NAME).is_file() and (path / "config.json").is_file()
    quantised = ours and read_config(path).get("quantization_config") is not None
    return QuantisedExport(path) if quantised else None
