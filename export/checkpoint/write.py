"""A compressed model -> a stock Hugging Face directory, complete and reproducible byte for byte."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError, ModelError
from ..contract import card, manifest, reference
from ..contract.manifest import Manifest
from ..disk.staging import staged_directory, write_atomically

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

    from ...compress.run import CompressResult

__all__ = [
    "complete_config",
    "record_quality",
    "save",
    "save_weights",
    "weight_records",
    "write_config",
    "write_model",
]

DEFAULT_SHARD_BYTES = 5_000_000_000
WEIGHT_SUFFIXES = (".safetensors", ".safetensors.index.json")


def save(
    result: "CompressResult",
    directory: Path,
    *,
    quality: dict[str, Any] | None = None,
    force: bool = False,
    max_shard_bytes: int = DEFAULT_SHARD_BYTES,
    on_complete: Callable[[Path], None] = lambda _: None,
) -> Manifest:
    """Write a compressed model as a directory that stock transformers and vLLM load.

    Args:
        result: What `compress` returned: a stock model on the CPU in the dtype to be stored, its
            tokenizer, generation config and report.
        directory: Where to write; appears only when everything has been written.
        quality: Measured numbers for the manifest and the card, e.g. perplexities; JSON-ready.
        force: Replace an earlier output.
        max_shard_bytes: Upper bound of one safetensors file, unless one tensor is larger.
        on_complete: Called with the manifest's path when all is written, before it comes into place.

    Returns:
        The manifest that was written.

    Raises:
        OutputError: The output exists, cannot be written, or the disk is full.
        ModelError: The model does not answer the reference prompts, or is tied other than it says.
    """
    directory = Path(directory)
    with staged_directory(directory, force=force) as temporary:
        reference_sha256 = write_model(
            result.model,
            result.tokenizer,
            result.generation_config,
            temporary,
            head_dim=result.report.narrow.head_dim,
            max_shard_bytes=max_shard_bytes,
        )
        text = card.render(result.report, quality)
        (temporary / card.NAME).write_text(text, encoding="utf-8")
        record = Manifest(
            format="huggingface",
            precision=str(result.model.dtype).removeprefix("torch."),
            report=result.report,
            quality=quality,
            files=weight_records(temporary),
            reference=reference_sha256,
        )
        manifest.write(record, temporary)
        on_complete(temporary / manifest.MANIFEST_NAME)
    return record


def write_model(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    generation_config: "GenerationConfig | None",
    directory: Path,
    *,
    head_dim: int,
    max_shard_bytes: int = DEFAULT_SHARD_BYTES,
) -> str:
    """Write everything of a checkpoint but its card and manifest; returns the hash of its reference.

    Raises:
        ModelError: The model does not answer the reference prompts, or is tied other than it says.
    """
    save_weights(model, generation_config, directory, max_shard_bytes)
    complete_config(directory / "config.json", head_dim=head_dim)
    tokenizer.save_pretrained(directory)
    return reference.save(reference.make_reference(model, tokenizer), directory)


def record_quality(directory: Path, quality: dict[str, Any]) -> Manifest:
    """Write what was measured after saving into the card and the manifest, each in one step.

    Args:
        directory: What `save` wrote.
        quality: Measured numbers, e.g. perplexities; JSON-ready.

    Raises:
        ManifestError: It is not a directory that `save` wrote.
        OutputError: It cannot be written.
    """
    record = manifest.read(directory)
    if record.report is None:
        raise ManifestError(
            f"{directory} was not compressed here; expected the output of `dotresize compress`"
        )
    write_atomically(directory / card.NAME, card.render(record.report, quality, record.recovery))
    record = replace(record, quality=quality)
    manifest.write(record, directory)
    return record


def weight_records(directory: Path) -> dict[str, manifest.FileRecord]:
    """Size and hash of every safetensors shard and index in `directory`, by name."""
    paths = sorted(path for path in directory.iterdir() if path.name.endswith(WEIGHT_SUFFIXES))
    return {path.name: manifest.file_record(path) for path in paths}


def complete_config(path: Path, *, head_dim: int) -> None:
    """Make a config that transformers 5 wrote readable for version 4 too.

    Version 5 writes `rope_parameters` and `dtype` only; version 4 and older runtimes look for
    `rope_theta`, `rope_scaling` and `torch_dtype`, and take silent defaults when those are missing.

    Args:
        path: `config.json`, changed in place.
        head_dim: Written explicitly, since hidden size over heads no longer gives it.
    """
    config = json.loads(path.read_text(encoding="utf-8"))
    config["head_dim"] = head_dim
    rope = config.get("rope_parameters")
    if isinstance(rope, dict) and "rope_theta" in rope:
        scaling = {
            key: value for key, value in rope.items() if key not in ("rope_theta", "partial_rotary_factor")
        }
        config["rope_theta"] = rope["rope_theta"]
        config["rope_scaling"] = None if scaling.get("rope_type", "default") == "default" else scaling
    if "dtype" in config:
        config["torch_dtype"] = config["dtype"]
    path.write_text(json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def save_weights(
    model: "PreTrainedModel",
    generation_config: "GenerationConfig | None",
    directory: Path,
    max_shard_bytes: int,
) -> None:
    """Write config, shards and generation config of a model in memory.

    Raises:
        ModelError: The model is tied other than its config says.
    """
    from transformers import GenerationConfig

    _check_ties(model)
    kept = model.generation_config
    try:
        # Saving refuses contradictory sampling values, which many models carry; they go out as they came.
        model.generation_config = GenerationConfig.from_model_config(model.config)
        # in the layout of published checkpoints, which engines read: experts are stacked in memory only
        model.save_pretrained(directory, max_shard_size=max_shard_bytes, save_original_format=True)
    finally:
        model.generation_config = kept
    if generation_config is not None:
        generation_config.to_json_file(directory / "generation_config.json")


def write_config(
    hollow: "PreTrainedModel",
    dtype: "torch.dtype",
    generation_config: "GenerationConfig | None",
    directory: Path,
) -> None:
    """What `save_weights` writes beside the weights, of a model without values."""
    from transformers import GenerationConfig

    config = hollow.config
    config.dtype = str(dtype).removeprefix("torch.")
    config.architectures = [type(hollow).__name__]
    config.save_pretrained(directory)
    if generation_config is None:
        GenerationConfig.from_model_config(config).save_pretrained(directory)
    else:
        generation_config.to_json_file(directory / "generation_config.json")


def _check_ties(model: "PreTrainedModel") -> None:
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or embedding is None:
        raise ModelError(
            f"{type(model).__name__} has no language-model head, expected a causal language model"
        )
    shared = head.weight is embedding.weight
    if shared != bool(model.config.tie_word_embeddings):
        raise ModelError(
            f"head and embedding {'share' if shared else 'do not share'} their weights, but the config says "
            f"tie_word_embeddings={model.config.tie_word_embeddings}; a reload would give another model"
        )
