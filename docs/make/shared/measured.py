"""What pages show of a model's quality on several texts, from the record of `measure_texts`."""

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["mean_and_worst", "mean_kl", "ratio_cells", "ratios"]


def mean_kl(quality: dict[str, Any]) -> float:
    """Mean over the texts of the KL to the original, nats per token."""
    values = [text["models"][1]["kl_nats_per_token"]["value"] for text in quality["texts"]]
    return math.fsum(values) / len(values)


def ratios(quality: dict[str, Any]) -> list[float]:
    """The perplexity ratio to the original on each text, in their order."""
    return [text["models"][1]["perplexity_ratio"]["value"] for text in quality["texts"]]


def mean_and_worst(values: Sequence[float]) -> tuple[float, float]:
    """Geometric mean and largest of some ratios."""
    return math.exp(math.fsum(map(math.log, values)) / len(values)), max(values)


def ratio_cells(quality: dict[str, Any]) -> list[str]:
    """Geometric mean and worst of the perplexity ratios to the original, as cells of a table."""
    return [f"{value:.3f}" for value in mean_and_worst(ratios(quality))]
