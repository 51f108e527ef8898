"""What pages show of a model's quality on several texts, from the record of `measure_texts`."""

import math
from typing import Any

__all__ = ["mean_kl", "ratio_cells"]


def mean_kl(quality: dict[str, Any]) -> float:
    """Mean over the texts of the KL to the original, nats per token."""
    values = [text["models"][1]["kl_nats_per_token"]["value"] for text in quality["texts"]]
    return math.fsum(values) / len(values)


def ratio_cells(quality: dict[str, Any]) -> list[str]:
    """Geometric mean and worst of the perplexity ratios to the original, as cells of a table."""
    each = [text["models"][1]["perplexity_ratio"]["value"] for text in quality["texts"]]
    mean = math.exp(math.fsum(math.log(value) for value in each) / len(each))
    return [f"{mean:.3f}", f"{max(each):.3f}"]
