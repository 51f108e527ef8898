"""Checkpoint -> one GGUF file, for llama.cpp and everything built on it.

Tensors are read, converted and written one at a time. The manifest and the reference logits go into a
folder beside the file, `FILE.dotresize/`.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from ...errors import ModelError, OptionError, WidthError
from ..checkpoint.source import ExportSource, check_model, copy_reference, open_source
from ..contract import manifest
from ..contract.manifest import Manifest
from ..disk.licences import copy_licences
from ..disk.model_files import open_gguf, read_config
from ..disk.outputs import GGUF_MARK, clean_up
from ..disk.room import check_room, free_bytes_at
from ..disk.staging import check_apart, check_free, staged_directory, staged_file
from .forms import GgufForm, form_of
from .tensors import GgufType, TensorPlan, plan_tensors, planned_bytes, rope_factors, write_tensors
from .tokenizer import GgufTokenizer, read_tokenizer

if TYPE_CHECKING:
    from gguf import GGUFWriter

__all__ = ["GgufConfig", "export_gguf", "record_directory"]

BLOCK = 32
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


@dataclass(frozen=True, kw_only=True)
class GgufConfig:
    """What to export.

    Attributes:
        type: Of the weight matrices; norms stay float32.
        fallback_f16: Store a matrix whose rows do not divide into blocks of 32 as f16 instead of refusing.

    Raises:
        OptionError: An unknown type, or a fallback that cannot take effect.
    """

    type: GgufType = "f16"
    fallback_f16: bool = False

    def __post_init__(self) -> None:
        if self.type not in get_args(GgufType):
            raise OptionError(
                f"--dtype {self.type} is unknown, expected one of {', '.join(get_args(GgufType))}"
            )
        if self.fallback_f16 and not self.type.startswith("q"):
            raise OptionError(
                f"--fallback-f16 has no effect on --dtype {self.type}, which has no blocks; leave it out"
            )


def record_directory(file: Path) -> Path:
    """Where the manifest and the reference of a GGUF file are."""
    return file.with_name(file.name + ".dotresize")


def export_gguf(
    directory: Path,
    output: Path,
    config: GgufConfig,
    *,
    force: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Write a GGUF file and, beside it, its manifest and reference.

    Args:
        directory: A checkpoint that `dotresize compress` wrote.
        output: The file to write; appears only when it is complete.
        config: Weight type.
        force: Replace an earlier file.
        progress: Called with one line before each tensor.

    Raises:
        ManifestError: `directory` is not ours or not finished.
        ModelError: An architecture, rope scaling or tokenizer that is not mapped to GGUF.
        WidthError: A row length that the type's blocks do not divide.
        OutputError: The output exists or cannot be written.
    """
    clean_up(output)
    source = open_source(directory)
    form = form_of(source.architecture, source.config)
    plan = _plan(source, form, config)
    record_folder = record_directory(output)
    check_apart(output, [directory])
    replace_file = force or _is_unfinished(output)
    replace_record = force or not output.exists()  # a manifest without its file says nothing
    clean_up(record_folder)  # also when the file is in the way
    check_free(output, force=replace_file)
    check_free(record_folder, force=replace_record)
    check_room(output, {"the tensors": planned_bytes(plan)}, free_bytes=free_bytes_at(output))
    tokenizer = read_tokenizer(source.directory, int(source.config["vocab_size"]))
    check_model(source)
    with (  # left in reverse: the file lands first, so no manifest is ever without its file
        staged_directory(record_folder, force=replace_record) as folder,
        staged_file(output, force=replace_file) as temporary,
    ):
        _write(source, temporary, form, plan, tokenizer, config, progress)
        copy_licences(source.directory, folder)
        record = Manifest(
            format="gguf",
            precision=config.type + ("+f16" if any(entry.fell_back for entry in plan) else ""),
            report=source.manifest.report,
            source=source.provenance,
            files={output.name: manifest.file_record(temporary)},
            reference=copy_reference(source, folder),
        )
        manifest.write(record, folder)
        if record_folder.exists():  # of the file that is replaced now
            shutil.rmtree(record_folder)
    return record


def _is_unfinished(output: Path) -> bool:
    """Whether an export of ours was killed between the file and its manifest, which lands last."""
    if not output.is_file() or output.is_symlink() or record_directory(output).exists():
        return False
    try:
        with open_gguf(output) as reader:
            return GGUF_MARK in reader.fields
    except ModelError:
        return False


def _plan(source: ExportSource, form: GgufForm, config: GgufConfig) -> list[TensorPlan]:
    read_config(source.directory, HYPERPARAMETERS)
    rope = source.config["rope_parameters"]
    if not isinstance(theta := rope.get("rope_theta"), int | float) or isinstance(theta, bool):
        raise ModelError(f"{source.directory / 'config.json'} has no rope_theta; make the directory again")
    plan = plan_tensors(source.directory, form, config.type)
    odd = sorted({entry.row_values for entry in plan if entry.fell_back})
    if odd and not config.fallback_f16:
        nearest = "; ".join(f"{width // BLOCK * BLOCK} or {-(-width // BLOCK) * BLOCK}" for width in odd)
        widths = ", ".join(str(width) for width in odd)
        raise WidthError(
            f"--dtype {config.type} stores rows in blocks of {BLOCK}, and {widths} is no multiple "
            f"of it; nearest widths that are: {nearest}. Compress to one of them, use --dtype float16, "
            "or keep those matrices in f16 with --fallback-f16"
        )
    return plan


def _write(
    source: ExportSource,
    path: Path,
    form: GgufForm,
    plan: list[TensorPlan],
    tokenizer: GgufTokenizer,
    config: GgufConfig,
    progress: Callable[[str], None],
) -> None:
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
        writer.add_file_type(kinds[config.type])
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
