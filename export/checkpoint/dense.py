"""A dense model, whatever it was read from -> a stock checkpoint with manifest and reference.

Engines load directories, not .gguf files or models in memory; and whoever compares an original with its
narrow copies wants both in the same form.
"""

from pathlib import Path

from ...compress.families.shape import head_dim_of
from ...compress.weights.source import DenseModel
from ..contract import manifest
from ..contract.manifest import Manifest
from ..disk.staging import staged_directory
from .write import weight_records, write_model

__all__ = ["save_dense"]


def save_dense(dense: DenseModel, directory: Path, *, force: bool = False) -> Manifest:
    """Write a dense model in the dtype that it has in memory.

    Raises:
        OutputError: The output exists, cannot be written, or the disk is full.
        ModelError: The model does not answer the reference prompts, or is tied other than it says.
    """
    for name in ("hf_quantizer", "is_quantized", "quantization_method"):
        if name in vars(dense.model):  # left by reading a GGUF file: the weights are plain by now
            delattr(dense.model, name)
    with staged_directory(directory, force=force) as temporary:
        kept = write_model(
            dense.model,
            dense.tokenizer,
            dense.generation_config,
            temporary,
            head_dim=head_dim_of(dense.model.config),
        )
        record = Manifest(
            format="huggingface",
            precision=str(dense.model.dtype).removeprefix("torch."),
            files=weight_records(temporary),
            reference=kept,
        )
        manifest.write(record, temporary)
    return record
