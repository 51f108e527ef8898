"""The prompts of a run: the same token ids for every model."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["random_prompts"]


def random_prompts(count: int, tokens: int, *, vocab_size: int, seed: int) -> NDArray[np.int64]:
    """Token ids ``(count, tokens)``, drawn evenly from the vocabulary by seed.

    Random ids rather than text: a dense model takes the same time for any token, and no two prompts
    share a prefix that a cache could reuse.
    """
    return np.random.default_rng(seed).integers(0, vocab_size, size=(count, tokens), dtype=np.int64)
