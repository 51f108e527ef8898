"""Checkpoint -> one GGUF file, for llama.cpp and everything built on it.

Tensors are read, converted and written one at a time. K-quants are llama.cpp's: it gets a file of floats and
writes the file that stays. The manifest and the reference logits go into a folder beside the file,
`FILE.dotresize/`.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from ...compress.record.progress import InLines
from ...errors import ModelError, WidthError
from ..checkpoint.source import ExportSource, check_model, copy_reference, open_source
from ..contract import manifest
from ..contract.manifest import Manifest
from ..contract.quantisation import Quantisation
from ..disk.licences import copy_licences
from ..disk.model_files import open_gguf, read_config
from ..disk.outputs import GGUF_MARK, clean_up
from ..disk.room import check_room, free_bytes_at
from ..disk.staging import check_apart, check_free, staged_directory, staged_file
from .config import GgufConfig, QuantisedType
from .forms import GgufForm, form_of
from .importance import check_texts_of, importance_of
from .quantise import fallbacks_of, quantise, quantised_bytes, require_llama_cpp
from .tensors import BLOCK, TensorPlan, WrittenType, exact_type, plan_tensors, planned_bytes
from .tokenizer import GgufTokenizer, read_tokenizer
from .write import HYPERPARAMETERS, write_file

__all__ = ["GgufConfig", "export_gguf", "record_directory"]


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
        config: Weight type, and what a calibrated one looks at.
        force: Replace an earlier file.
        progress: Called with one line before each tensor.

    Raises:
        ManifestError: `directory` is not ours or not finished.
        ModelError: An architecture, rope scaling or tokenizer that is not mapped to GGUF.
        WidthError: A row length that the type's blocks do not divide.
        TextError: A text of the calibration cannot be used.
        MissingDependencyError: llama-cpp-python is not installed, and the type is one that it makes.
        OutputError: The output exists or cannot be written.
    """
    clean_up(output)
    if config.quantised is not None:
        require_llama_cpp(config.quantised)
    source = open_source(directory)
    form = form_of(source.architecture, source.config)
    kind = _written_type(source, config)
    plan = _plan(source, form, kind, config)
    record_folder = record_directory(output)
    check_apart(output, [directory])
    replace_file = force or _is_unfinished(output)
    replace_record = force or not output.exists()  # a manifest without its file says nothing
    clean_up(record_folder)  # also when the file is in the way
    check_free(output, force=replace_file)
    check_free(record_folder, force=replace_record)
    check_room(output, _rooms(plan, config.quantised), free_bytes=free_bytes_at(output))
    if config.calibration:
        check_texts_of(source.directory, config)
    tokenizer = read_tokenizer(source.directory, int(source.config["vocab_size"]))
    check_model(source)
    with (  # left in reverse: the file lands first, so no manifest is ever without its file
        staged_directory(record_folder, force=replace_record) as folder,
        staged_file(output, force=replace_file) as temporary,
    ):
        rounding = None
        if config.quantised is None:
            write_file(source, temporary, form, plan, tokenizer, kind, progress)
        else:
            rounding = _quantise(source, temporary, form, plan, tokenizer, kind, config, progress)
        copy_licences(source.directory, folder)
        record = Manifest(
            format="gguf",
            precision="+".join([config.type, *_other_types(plan, rounding)]),
            report=source.manifest.report,
            source=source.provenance,
            quantisation=rounding,
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


def _written_type(source: ExportSource, config: GgufConfig) -> WrittenType:
    """What our own writer makes: for llama.cpp floats that are the checkpoint's to the bit.

    Halves of another kind would not be: a float16 ends at 65,504, a bfloat16 has eight bits. Llama.cpp reads
    all three, and computes in float32.
    """
    own: WrittenType | None = next((kind for kind in get_args(WrittenType) if kind == config.type), None)
    return own or exact_type(source.directory)


def _rooms(plan: list[TensorPlan], quantised: QuantisedType | None) -> dict[str, int]:
    """What takes room on the disk; the floats that llama.cpp reads lie beside what it writes."""
    if quantised is None:
        return {"the tensors": planned_bytes(plan)}
    return {
        "the quantised tensors": quantised_bytes(plan, quantised),
        "the floats that llama.cpp reads, until it is done": planned_bytes(plan),
    }


def _other_types(plan: list[TensorPlan], rounding: Quantisation | None) -> list[str]:
    """Types of matrices that are not of the wanted one because its blocks do not divide their rows."""
    if rounding is not None:
        return list(rounding.fallbacks)
    return ["f16"] if any(entry.fell_back for entry in plan) else []


def _plan(source: ExportSource, form: GgufForm, kind: WrittenType, config: GgufConfig) -> list[TensorPlan]:
    read_config(source.directory, HYPERPARAMETERS)
    rope = source.config["rope_parameters"]
    if not isinstance(theta := rope.get("rope_theta"), int | float) or isinstance(theta, bool):
        raise ModelError(f"{source.directory / 'config.json'} has no rope_theta; make the directory again")
    plan = plan_tensors(source.directory, form, kind)
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


def _quantise(
    source: ExportSource,
    path: Path,
    form: GgufForm,
    plan: list[TensorPlan],
    tokenizer: GgufTokenizer,
    kind: WrittenType,
    config: GgufConfig,
    progress: Callable[[str], None],
) -> Quantisation:
    """Write the floats beside `path`, let llama.cpp make `path` of them, and remove them."""
    assert config.quantised is not None
    seen = None
    if config.calibration:
        progress("loading")
        seen = importance_of(source.directory, form, config, InLines(progress))
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        floats = Path(folder) / "floats.gguf"
        write_file(source, floats, form, plan, tokenizer, kind, progress)
        quantise(floats, path, config.quantised, seen and seen.values, progress)
    return Quantisation(
        rounding="calibrated" if seen else "nearest",
        group_size=None,
        calibration=seen and seen.calibration,
        fallbacks=fallbacks_of(path),
    )
