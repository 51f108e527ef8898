"""Memory that ran out, said as the setting that helps."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ...errors import OptionError
from .config import RecoverConfig

__all__ = ["naming_the_setting"]


@contextmanager
def naming_the_setting(config: RecoverConfig) -> Iterator[None]:
    """Turn torch's error into one that names the options to change.

    Raises:
        OptionError: memory ran out inside the block.
    """
    try:
        yield
    except RuntimeError as error:  # CUDA's own is a subclass; the CPU's allocator has only its words
        if not isinstance(error, torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        raise OptionError(
            f"memory ran out with --micro-windows {config.micro_windows} of --window-tokens "
            f"{config.window_tokens}; halve one of them, add --activation-checkpointing, or train less with "
            "--train lora or norms"
        ) from error
