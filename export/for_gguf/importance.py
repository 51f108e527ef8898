"""How large each input of each matrix is on a text: what llama.cpp calls an importance matrix.

An error in a weight is multiplied by its input, so the mean square of that input is what the error costs.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...compress.record.progress import Progress
from ...compress.run import check_inputs, choose_device
from ...compress.text.calibration_windows import calibration_windows
from ...compress.weights.source import open_model
from ...errors import ModelError
from .config import GgufConfig
from .forms import GgufForm
from .tensors import gguf_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel

    from ...compress.record.report import CalibrationRecord

__all__ = ["Importance", "check_texts_of", "importance_of", "mean_squares"]

# Of a matrix's mean: what an input counts at least. One that the text never uses is used by another text, and
# llama.cpp drops a block whose inputs all count nothing.
LEAST = 1e-6


class Importance(NamedTuple):
    """What was seen of the inputs, and on which text."""

    values: Mapping[str, NDArray[np.float32]]  # GGUF name of a matrix -> (inputs,)
    calibration: "CalibrationRecord"


def check_texts_of(directory: Path, config: GgufConfig) -> None:
    """Refuse, before a weight is read, what `importance_of` would refuse after it.

    Raises:
        InputError: A text or the device cannot be used.
    """
    check_inputs(open_model(str(directory)), config.texts)


def importance_of(directory: Path, form: GgufForm, config: GgufConfig, progress: Progress) -> Importance:
    """Let a checkpoint of ours read its calibration, in float32.

    Args:
        directory: The checkpoint.
        form: What its matrices are called in the file.
        config: Names the texts.
        progress: Told about every window.

    Raises:
        InputError: A text or the device cannot be used.
        ModelError: The checkpoint cannot be read, or overflows on the text.
    """
    import torch

    dense, device = open_model(str(directory)).load(), choose_device(config.device)
    windows = calibration_windows(config.texts, dense, device, progress)
    dense.model.to(device, torch.float32)  # type: ignore[arg-type]
    found = mean_squares(dense.model, windows.token_ids, progress)
    if dense.model.config.tie_word_embeddings:  # one matrix in the file; only as the head it has inputs
        found["model.embed_tokens"] = found.pop("lm_head")
    return Importance(
        {gguf_name(f"{name}.weight", form): _counted(name, squares) for name, squares in found.items()},
        windows.record,
    )


def _counted(name: str, squares: "Tensor") -> NDArray[np.float32]:
    """Mean squares ``(inputs,)`` float64 as llama.cpp takes them, none of them nothing."""
    if not bool(squares.isfinite().all()):
        raise ModelError(
            f"the inputs of {name} overflow on the calibration; choose another text, or leave it out"
        )
    values: NDArray[np.float32] = squares.clamp_min(LEAST * float(squares.mean())).float().numpy()
    return values


def mean_squares(model: "PreTrainedModel", token_ids: "Tensor", progress: Progress) -> "dict[str, Tensor]":
    """Of every input of every linear layer, the head included, over all tokens.

    Args:
        model: Reads the windows.
        token_ids: Windows ``(n, t)``.
        progress: Told about each.

    Returns:
        Name of the layer -> ``(inputs,)`` float64, on the CPU.
    """
    import torch

    progress.begin("importance", len(token_ids))
    head = next(name for name, part in model.named_modules() if part is model.get_output_embeddings())
    with torch.inference_mode(), _summed(model) as sums:
        for window in token_ids:
            found = model.base_model(input_ids=window[None].to(model.device), use_cache=False)
            sums[head] += _squares(found.last_hidden_state)  # what the head does with it nobody asks
            progress.advance()
    return {name: total.cpu() / token_ids.numel() for name, total in sums.items()}


@contextmanager
def _summed(model: "PreTrainedModel") -> "Iterator[dict[str, Tensor]]":
    """Name of a linear layer -> sum of the squares of its inputs so far ``(inputs,)``, float64."""
    import torch

    layers = {name: part for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)}
    sums = {
        name: torch.zeros(layer.in_features, dtype=torch.float64, device=layer.weight.device)
        for name, layer in layers.items()
    }

    def adding(name: str) -> "Callable[[torch.nn.Module, tuple[Tensor, ...]], None]":
        def add(_layer: "torch.nn.Module", inputs: "tuple[Tensor, ...]") -> None:
            sums[name] += _squares(inputs[0])

        return add

    handles = [layer.register_forward_pre_hook(adding(name)) for name, layer in layers.items()]
    try:
        yield sums
    finally:
        for handle in handles:
            handle.remove()


def _squares(inputs: "Tensor") -> "Tensor":
    """Over all but the last axis, summed in float64."""
    return inputs.flatten(0, -2).double().square().sum(dim=0)
