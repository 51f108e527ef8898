"""Which whole layers stay. Pure."""

from torch import Tensor

__all__ = ["layers_that_stay"]


def layers_that_stay(influence: Tensor, count: int) -> tuple[int, ...]:
    """Numbers of the `count` layers that turn the stream most, ascending; of equal ones the earlier stay.

    Args:
        influence: (layers,) mean over tokens of 1 - cosine between what enters a layer and what leaves it.
        count: how many stay.
    """
    order = sorted(range(len(influence)), key=lambda index: -float(influence[index]))
    return tuple(sorted(order[:count]))
