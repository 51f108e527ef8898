"""PURE. Request rates: requests that arrive whether the engine is ready or not.

A measurement's load is a whole number, so that a rate is kept as requests a minute.
"""

__all__ = ["is_whole_a_minute", "per_minute", "per_second"]


def per_minute(rate: float) -> int:
    """Requests a second -> the load of a measurement."""
    return round(rate * 60)


def per_second(load: int) -> float:
    """The load of a measurement -> requests a second."""
    return load / 60


def is_whole_a_minute(rate: float) -> bool:
    """Whether a rate can be kept; a third is written 0.3333."""
    return abs(rate * 60 - per_minute(rate)) < 0.01
