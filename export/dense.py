"""A dense model, whatever it was read from -> a stock checkpoint with manifest and reference.

Engines load directories, not .gguf files or models in memory; and whoever compares an original with its
narrow copies wants both in the same form.
"""

from pathlib import Path

from ..compress.shape import head_dim_of
from ..compress.source import DenseModel
from . import manifest, reference
from .checkpoint import DEFAULT_SHARD_BYTES, complete_config, save_weights, weight_records
from .manifest import Manifest
from .staging import staged_directory

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
        save_weights(dense.model, dense.generation_config, temporary, DEFAULT_SHARD_BYTES)
        complete_config(temporary / "config.json", head_dim=head_dim_of(dense.model.config))
        dense.tokenizer.save_pretrained(temporary)
        kept = reference.save(reference.make_reference(dense.model, dense.tokenizer), temporary)
        record = Manifest(
            format="huggingface",
            precision=str(dense.model.dtype).removeprefix("torch."),
            files=weight_records(temporary),
            reference=kept,
        )
        manifest.write(record, temporary)
    return record
