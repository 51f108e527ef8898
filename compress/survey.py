"""First pass: the dense stream alone, to learn which directions of the residual stream carry energy.

Shapes: w windows of t tokens, d hidden size.
"""

from typing import Any

import torch
from torch import Tensor

from .activations import batches, branches_of, unit_rows
from .guards import check_finite
from .moments import second_moment
from .precision import fast_products
from .progress import Progress
from .source import DenseModel
from .surgery import to_float32

__all__ = ["embed", "residual_second_moment"]


def embed(dense: DenseModel, token_ids: Tensor) -> Tensor:
    """The dense residual stream before the first layer, (w, t, d) float32 on the CPU."""
    embedding = dense.model.get_submodule(dense.family.embedding)
    return embedding(token_ids.to(embedding.get_parameter("weight").device)).float().cpu()  # type: ignore[no-any-return]


def residual_second_moment(
    dense: DenseModel,
    token_ids: Tensor,
    arguments: list[list[dict[str, Any]]],
    device: torch.device,
    progress: Progress,
) -> Tensor:
    """Mean over all norm sites of the second moment of x / rms(x), (d, d) float64 on the CPU.

    Each token counts the same at each site, because that is what the readers behind a norm see;
    otherwise the first token's huge activations would own the result. Which directions carry energy needs
    few digits: the layers' matrix products may use the reduced precision that the processor is fastest at.
    """
    stream = embed(dense, token_ids)
    windows, tokens, width = stream.shape
    epsilon = dense.model.config.rms_norm_eps
    total = torch.zeros(width, width, dtype=torch.float64, device=device)
    layers = list(dense.model.get_submodule(dense.family.layers).children())
    progress.begin("survey the residual stream", len(layers) * windows)
    for index, (layer, layer_arguments) in enumerate(zip(layers, arguments, strict=True)):
        branches = branches_of(to_float32(layer, device), dense.family, layer_arguments)
        for batch in batches(windows, tokens):
            x = stream[batch].to(device)
            for branch in branches:
                second_moment(total, unit_rows(x, epsilon))
                with fast_products():
                    x = x + branch.forward(x)
                check_finite(f"layer {index}, {branch.sublayer.core}", x)
            stream[batch] = x.cpu()
            progress.advance(len(x))
    for batch in batches(windows, tokens):
        second_moment(total, unit_rows(stream[batch].to(device), epsilon))
    sites = len(layers) * len(dense.family.sublayers) + 1
    return (total / (sites * windows * tokens)).cpu()
