"""How long a request of the run is, and whether a model can hold it."""

from pathlib import Path

from ...errors import ModelError
from ...export.disk.model_files import is_onnx_directory, read_genai_config
from ...serve.engine.model_facts import read_facts
from ..record.results import BenchModel
from ..record.settings import BenchSettings

__all__ = ["context_tokens"]

BLOCK_TOKENS = 128  # vLLM's largest cache block: a context that is a multiple wastes nothing


def context_tokens(model: BenchModel, settings: BenchSettings) -> int:
    """Tokens that one request needs, rounded up to whole cache blocks where the model allows it.

    Raises:
        ModelError: More than the model's positions.
    """
    needed = settings.input_tokens + settings.output_tokens
    limit = _positions(Path(model.path))
    if limit is not None and needed > limit:
        raise ModelError(
            f"{model.name} has {limit} positions; {settings.input_tokens} input and {settings.output_tokens} "
            "output tokens do not fit, ask for fewer"
        )
    whole = -(-needed // BLOCK_TOKENS) * BLOCK_TOKENS
    return whole if limit is None else min(whole, limit)


def _positions(directory: Path) -> int | None:
    if is_onnx_directory(directory):
        return read_genai_config(directory).model.context_length
    return read_facts(directory).max_position_embeddings
