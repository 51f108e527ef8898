"""The keys, the tokenizer and the tensors of one GGUF file, in the types that the gguf package can make."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ModelError
from ..checkpoint.source import ExportSource
from ..disk.outputs import GGUF_MARK
from .forms import GgufForm
from .tensors import TensorPlan, WrittenType, rope_factors, write_tensors
from .tokenizer import GgufTokenizer

if TYPE_CHECKING:
    from gguf import GGUFWriter

__all__ = ["HYPERPARAMETERS", "write_file"]

HYPERPARAMETERS = (  # of config.json, written as keys of the file
    "max_position_embeddings",
    "hidden_size",
    "num_hidden_layers",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "rms_norm_eps",
    "vocab_size",
    "rope_parameters",
)


def write_file(
    source: ExportSource,
    path: Path,
    form: GgufForm,
    plan: list[TensorPlan],
    tokenizer: GgufTokenizer,
    kind: WrittenType,
    progress: Callable[[str], None],
) -> None:
    """Write a whole GGUF file.

    Args:
        source: The checkpoint.
        path: The file to write.
        form: How its class lies in such a file.
        plan: Its tensors, of `plan_tensors`.
        tokenizer: Of `read_tokenizer`.
        kind: What most of its matrices are stored as.
        progress: Called with one line before each tensor.

    Raises:
        ModelError: A rope scaling that GGUF has no form for here.
    """
    from gguf import GGUFWriter, LlamaFileType

    kinds = {
        "f32": LlamaFileType.ALL_F32,
        "f16": LlamaFileType.MOSTLY_F16,
        "bf16": LlamaFileType.MOSTLY_BF16,
        "q8_0": LlamaFileType.MOSTLY_Q8_0,
        "q4_0": LlamaFileType.MOSTLY_Q4_0,
        "q4_1": LlamaFileType.MOSTLY_Q4_1,
    }
    writer = GGUFWriter(path, form.name)
    try:
        _add_hyperparameters(writer, source)
        writer.add_file_type(kinds[kind])
        writer.add_quantization_version(2)
        writer.add_string(GGUF_MARK, source.manifest.sha256)
        _add_tokenizer(writer, tokenizer)
        write_tensors(writer, source.directory, form, plan, _extra_tensors(source), progress)
    finally:
        writer.close()


def _add_hyperparameters(writer: "GGUFWriter", source: ExportSource) -> None:
    config, report = source.config, source.manifest.report
    if report is not None:
        writer.add_name(f"{report.source.name} narrowed")
        if report.source.licence:
            writer.add_license(report.source.licence)
    head_dim = int(config["head_dim"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    # llama.cpp takes hidden size over heads for each of these when it is missing, which is wrong here.
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])


def _extra_tensors(source: ExportSource) -> Iterator[tuple[str, np.ndarray[Any, np.dtype[np.float32]]]]:
    """Tensors that the checkpoint does not hold: the scaled rotary frequencies of Llama 3."""
    kind = source.config["rope_parameters"].get("rope_type", "default")
    if kind == "default":
        return
    if kind != "llama3":
        raise ModelError(f"rope scaling {kind!r} has no GGUF form here, expected default or llama3")
    yield "rope_freqs.weight", rope_factors(source.directory)


def _add_tokenizer(writer: "GGUFWriter", tokenizer: GgufTokenizer) -> None:
    writer.add_tokenizer_model(tokenizer.model)
    writer.add_tokenizer_pre(tokenizer.pre)
    writer.add_token_list(list(tokenizer.tokens))
    writer.add_token_types(list(tokenizer.token_types))
    if tokenizer.scores:
        writer.add_token_scores(list(tokenizer.scores))
    if tokenizer.merges:
        writer.add_token_merges(list(tokenizer.merges))
    setters = {
        "bos": writer.add_bos_token_id,
        "eos": writer.add_eos_token_id,
        "unk": writer.add_unk_token_id,
        "pad": writer.add_pad_token_id,
    }
    for name, index in tokenizer.special_ids.items():
        setters[name](index)
    writer.add_add_bos_token(tokenizer.add_bos)
    writer.add_add_space_prefix(tokenizer.add_space_prefix)
    if tokenizer.chat_template is not None:
        writer.add_chat_template(tokenizer.chat_template)
