"""A GGUF file of floats -> one of k-quants, by llama.cpp itself in a child process."""

import importlib.metadata
import importlib.util
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import MissingDependencyError, ModelError, OutputError
from ..disk.model_files import open_gguf
from ..process.child import ChildError, run_child
from .config import QuantisedType
from .tensors import TensorPlan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["fallbacks_of", "quantise", "quantised_bytes", "require_llama_cpp"]

QUANTISER = Path(__file__).with_name("llama_cpp_quantiser.py")
# Of llama-cpp-python: an importance matrix was handed over in another form before some version.
OLDEST = "0.3.36"
SUPER_BLOCK = 256  # weights of a row that share a scale of scales, in every type of `_SMALLEST`
_SMALLEST = {  # type -> GGUF's name of the least that a matrix of such a file is stored in
    "q2_k": "Q2_K",
    "q3_k_m": "Q3_K",
    "q4_k_s": "Q4_K",
    "q4_k_m": "Q4_K",
    "q5_k_m": "Q5_K",
    "q6_k": "Q6_K",
    "iq4_xs": "IQ4_XS",
}
_TENSOR_COUNT = re.compile(r"^\[ *(\d+)/ *(\d+)\]")


def require_llama_cpp(kind: QuantisedType) -> None:
    """Refuse what llama.cpp has to make where it is not installed.

    Raises:
        MissingDependencyError: It is not, or too old.
    """
    advice = 'pip install "dotresize[gguf]" (compiles llama.cpp, some minutes), or use q8_0, q4_0 or q4_1'
    if importlib.util.find_spec("llama_cpp") is None:
        raise MissingDependencyError(
            f"--dtype {kind} is made by llama.cpp, and llama-cpp-python is not installed: {advice}"
        )
    found = importlib.metadata.version("llama-cpp-python")
    if _numbers(found) < _numbers(OLDEST):
        raise MissingDependencyError(
            f"--dtype {kind} needs llama-cpp-python {OLDEST} or newer, and {found} is installed: {advice}"
        )


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)[:3]]


def quantised_bytes(plan: list[TensorPlan], kind: QuantisedType) -> int:
    """What the tensors of a plan take in the quantised file at least: what falls back takes more."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    weights, size = GGML_QUANT_SIZES[GGMLQuantizationType[_SMALLEST[kind]]]
    counts = [(math.prod(entry.shape), len(entry.shape) > 1) for entry in plan]
    return sum(count * size // weights if matrix else count * 4 for count, matrix in counts)


def quantise(
    floats: Path,
    target: Path,
    kind: QuantisedType,
    importance: "Mapping[str, NDArray[np.float32]] | None",
    progress: Callable[[str], None],
) -> None:
    """Let llama.cpp write `target` from a file of floats.

    Args:
        floats: GGUF, in a folder where more may be written.
        target: The file to write.
        kind: What to store.
        importance: GGUF name of a matrix -> how much each of its inputs counts, ``(inputs,)``; a matrix that
            is not named is rounded as if all counted the same.
        progress: Called with one line after each tensor.

    Raises:
        ModelError: llama.cpp failed or died.
        OutputError: It could not write.
    """

    def follow(line: str) -> None:
        if found := _TENSOR_COUNT.match(line):
            progress(f"quantising: tensor {found[1]} of {found[2]}")

    arguments = [str(QUANTISER), str(floats.resolve()), str(target.resolve()), kind]
    if importance is not None:
        arguments.append(str(_handed_over(importance, floats.parent).resolve()))
    try:
        run_child(arguments, folder=floats.parent, on_line=follow)
    except ChildError as error:
        if "iostream error" in str(error):  # all that llama.cpp says of a failed write
            raise OutputError(
                f"llama.cpp could not write the file ({error}), most often because the disk is full; nothing "
                "was kept, free some space and retry"
            ) from error
        raise ModelError(
            f"llama.cpp could not make {kind} of it: {error}; export q8_0, which needs no llama.cpp"
        ) from error


def _handed_over(importance: "Mapping[str, NDArray[np.float32]]", folder: Path) -> Path:
    from safetensors.numpy import save_file

    file = folder / "importance.safetensors"
    save_file(dict(importance), file)
    return file


def fallbacks_of(file: Path) -> dict[str, int]:
    """Type -> matrices that are stored in it because blocks of 256 do not divide their rows.

    Everything else that llama.cpp puts into such a file has these blocks.

    Raises:
        ModelError: The file cannot be read.
    """
    from gguf import GGML_QUANT_SIZES

    with open_gguf(file) as reader:
        kinds = Counter(
            tensor.tensor_type.name.lower()
            for tensor in reader.tensors
            if len(tensor.shape) > 1 and GGML_QUANT_SIZES[tensor.tensor_type][0] != SUPER_BLOCK
        )
    return dict(sorted(kinds.items()))
