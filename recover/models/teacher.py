"""The teacher: the original in memory, or its likeliest tokens computed once and kept on disk.

Shapes: w windows of t tokens, k kept tokens.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ...compress.record.progress import Progress
from ...errors import InputError, OutputError
from ...foreign import reading
from ..losses.heads import head_of, run_decoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Kept", "check_same_vocabulary", "keep_top_k", "likeliest", "projection"]


class Kept(NamedTuple):
    """The teacher's likeliest tokens for every window, memory-mapped."""

    log_probabilities: Tensor  # (w, t, k) float16
    token_ids: Tensor  # (w, t, k) int32


def check_same_vocabulary(
    teacher: "PreTrainedTokenizerBase", student: "PreTrainedTokenizerBase", names: tuple[str, str]
) -> None:
    """Only with one vocabulary do the two distributions compare.

    Raises:
        InputError: the vocabularies differ.
    """
    if teacher.get_vocab() != student.get_vocab():
        raise InputError(
            f"{names[0]} has another vocabulary than {names[1]}, so it cannot teach it; expected the "
            "original that was narrowed, or a model with the same tokenizer"
        )


@torch.no_grad()
def likeliest(teacher: "PreTrainedModel", windows: Tensor, k: int, progress: Progress) -> Kept:
    """The k likeliest tokens after every position of (w, t) windows."""
    head = head_of(teacher)
    values, places = [], []
    progress.begin("teacher", len(windows))
    for window in windows:
        hidden, _ = run_decoder(teacher, window[None].to(teacher.device))
        best = torch.log_softmax(head.logits(hidden[0]).float(), -1).topk(k, -1)
        values.append(best.values.half().cpu())
        places.append(best.indices.int().cpu())
        progress.advance()
    return Kept(torch.stack(values), torch.stack(places))


def keep_top_k(teacher: "PreTrainedModel", windows: Tensor, k: int, file: Path, progress: Progress) -> Kept:
    """Compute the k likeliest tokens after every position, or read them when the file has them already.

    Args:
        teacher: on its device, in the dtype it computes in.
        windows: (w, t) int64.
        k: tokens to keep.
        file: safetensors; written in one step.
        progress: told about every window.

    Raises:
        OutputError: the file cannot be written.
    """
    from safetensors.torch import save_file

    if not file.is_file():
        kept = likeliest(teacher, windows, k, progress)
        temporary = file.with_suffix(".tmp")
        try:
            save_file({"values": kept.log_probabilities, "places": kept.token_ids}, temporary)
            temporary.rename(file)
        except OSError as error:
            raise OutputError(f"{file} cannot be written: {error}") from error
    with reading(file, OutputError, advice="delete it and run again"):
        from safetensors import safe_open

        with safe_open(file, framework="pt") as handle:
            return Kept(handle.get_tensor("values"), handle.get_tensor("places"))


def projection(teacher: Any, student: Any) -> Tensor:
    """The fixed matrix P (d, s) with narrow stream = dense stream times P, from the two embeddings.

    Narrowing writes E P as the narrow embedding; E has more rows than columns, so least squares gives P back.

    Raises:
        InputError: no matrix relates the embeddings: the student was not narrowed from this teacher.
    """
    dense = teacher.get_input_embeddings().weight.double()  # (v, d)
    narrow = student.get_input_embeddings().weight.double()  # (v, s)
    found: Tensor = torch.linalg.lstsq(dense, narrow).solution
    error = float((dense @ found - narrow).norm() / narrow.norm())
    if not error < 0.05:  # bfloat16 rounds to 0.004; another model is off by about one
        raise InputError(
            f"the embeddings of teacher and student are not related by one matrix (error {error:.2f}), so "
            "their residual streams do not compare; leave --stream-weight out, or name the original that was "
            "narrowed"
        )
    return found.float()
