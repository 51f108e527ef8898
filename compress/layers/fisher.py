"""How much the loss feels each neuron of the MLPs: a pass forward and one back, one layer in memory.

Shapes: w windows of t tokens, d hidden size, v vocabulary; n tokens that an expert sees, m neurons.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..families.family import Family
from ..families.logits import finished_logits
from ..families.shape import widths_of
from ..families.surgery import to_float32
from ..maths.guards import check_finite
from ..record.progress import Progress
from ..streams.activations import Branch, Inner, batches, branches_of
from ..streams.ranks import Ranks
from ..streams.stream import Stream, StreamRoom
from ..weights.dense import Dense
from .survey import enter

__all__ = ["FISHER_TOKENS", "HEAD_ROWS", "felt_by", "fisher_key", "neuron_fisher", "windows_felt"]

FISHER_TOKENS = 8192  # more say little more about a ranking
HEAD_ROWS = 256  # tokens whose logits are in memory at a time


def fisher_key(layer: int, expert: int) -> str:
    """The name of the values of one MLP in `neuron_fisher`."""
    return f"{layer}.{expert}"


def windows_felt(windows: int, tokens: int) -> int:
    """How many of the calibration's windows (w, t) are looked at."""
    return min(windows, max(1, FISHER_TOKENS // tokens))


def felt_by(mlp_method: str | None, windows: int, tokens: int) -> tuple[int, int] | None:
    """Windows and tokens of each that a method looks at; None where it asks for no gradient."""
    return (windows_felt(windows, tokens), tokens) if mlp_method == "fisher" else None


def neuron_fisher(
    dense: Dense,
    token_ids: Tensor,
    arguments: list[list[dict[str, Any]]],
    device: torch.device,
    progress: Progress,
    *,
    seed: int,
    room: StreamRoom,
    ranks: Ranks,
) -> dict[str, Tensor]:
    """Fisher information of a factor on each neuron: the mean over tokens of (a_i dL/da_i)^2.

    L is the cross entropy of next tokens that the model itself draws, so the gradient vanishes on average and
    its square is the curvature (Molchanov et al., arXiv 1906.10771; Kwon et al., arXiv 2204.09656, who add a
    sequence up before they square; here each token is squared). No weight gets a gradient, and what enters
    each layer is all that is kept between the passes.

    Args:
        dense: the model; it is only read.
        token_ids: (w, t) int64; `windows_felt` of them are looked at, evenly spread.
        arguments: of `call_arguments`.
        device: where the arithmetic runs.
        progress: told about every window, twice.
        seed: draws the tokens.
        room: where what enters the layers is put, layers x windows of it.
        ranks: the processes that do it together.

    Returns:
        `fisher_key` -> (m,) float64 on the CPU.

    Raises:
        ConvergenceError: a gradient is not finite.
    """
    count = windows_felt(*token_ids.shape)
    chosen = ((torch.arange(count) + 0.5) * len(token_ids) / count).long()
    mine = ranks.owned(count, token_ids.shape[1])
    model, widths = _Model(dense, arguments, device), widths_of(dense.config, dense.family)
    sums = {
        fisher_key(index, expert): torch.zeros(widths.intermediate_size, dtype=torch.float64, device=device)
        for index in range(model.layers)
        for expert in range(max(widths.num_experts, 1))
    }
    progress.begin("what the loss feels", 2 * model.layers * (mine.stop - mine.start))
    if mine.start < mine.stop:
        own = token_ids[chosen[mine]]
        stream = enter(dense, own, room)
        entered = room.empty(model.layers * len(own), stream.shape[1], stream.shape[2], stream.dtype)
        _forward(model, stream, entered, progress)
        _head_gradient(model, stream, seed * 1_000_003 + mine.start)
        _backward(model, stream, entered, sums, progress)
    ranks.summed(*sums.values())
    for name, total in sums.items():
        check_finite(f"the gradient of layer {name.partition('.')[0]}", total)
    return {name: (total / (count * token_ids.shape[1])).cpu() for name, total in sums.items()}


class _Model(NamedTuple):
    """What all steps need."""

    dense: Dense
    arguments: list[list[dict[str, Any]]]
    device: torch.device

    @property
    def family(self) -> Family:
        return self.dense.family

    @property
    def layers(self) -> int:
        return len(self.arguments)

    def read(self, numbers: range) -> Iterator[tuple[int, list[Branch]]]:
        """Layers one after the other."""
        layers = self.dense.weights.layers(self.family.layers, numbers, self.device)
        for index, layer in zip(numbers, layers, strict=True):
            yield index, branches_of(layer, self.family, self.dense.config, self.arguments[index])

    def through(self, branches: list[Branch], entered: Tensor) -> tuple[Tensor, list[Inner]]:
        """What leaves a layer, (b, t, d), and what the writers of its MLP read."""
        x, parallel = entered, self.family.runs_in_parallel(self.dense.config)
        found: list[Inner] = []
        for branch in branches:
            read = entered if parallel else x
            if branch.sublayer.is_mlp:
                found = branch.inner(read)
                x = x + branch.output(found, read)
            else:
                x = x + branch.forward(read)
        return x, found


def _of_layer(index: int, windows: int, batch: slice) -> slice:
    """Where a batch is among what enters all layers."""
    return slice(index * windows + batch.start, index * windows + batch.stop)


def _forward(model: _Model, stream: Stream, entered: Stream, progress: Progress) -> None:
    """Move the stream behind the last layer."""
    windows, tokens, _ = stream.shape
    for index, branches in model.read(range(model.layers)):
        for batch in batches(windows, tokens):
            x = stream[batch]
            entered.put(_of_layer(index, windows, batch), x)
            stream.put(batch, model.through(branches, x.to(model.device))[0].cpu())
            progress.advance(len(x))


def _head_gradient(model: _Model, stream: Stream, seed: int) -> None:
    """Replace the stream behind the last layer by the gradient of the loss there."""
    weights, family = model.dense.weights, model.family
    norm = to_float32(weights.module(family.final_norm), model.device)
    stored = weights.module(family.head).get_parameter("weight")
    head = stored.to(model.device, torch.promote_types(stored.dtype, torch.float32))
    windows, tokens, _ = stream.shape
    for batch in batches(windows, tokens):
        generator = torch.Generator(model.device).manual_seed(seed + batch.start)
        rows = stream[batch].to(model.device).flatten(0, -2)
        gradients = [
            _row_gradient(part, norm, head, model.dense.config, generator) for part in rows.split(HEAD_ROWS)
        ]
        stream.put(batch, torch.cat(gradients).view(-1, tokens, rows.shape[-1]).cpu())


@torch.enable_grad()
def _row_gradient(
    rows: Tensor, norm: nn.Module, head: Tensor, config: Any, generator: torch.Generator
) -> Tensor:
    """Gradient (n, d) of the loss at rows of the stream (n, d), each with a token of its own drawing."""
    leaf = rows.detach().requires_grad_()
    logits = finished_logits(functional.linear(norm(leaf), head), config)
    drawn = torch.multinomial(logits.detach().softmax(-1), 1, generator=generator)[:, 0]
    loss = functional.cross_entropy(logits, drawn, reduction="sum")
    return torch.autograd.grad(loss, leaf)[0]


def _backward(
    model: _Model, gradient: Stream, entered: Stream, sums: dict[str, Tensor], progress: Progress
) -> None:
    """Move the gradient in front of the first layer, and add up what each neuron has of it."""
    windows, tokens, _ = gradient.shape
    for index, branches in model.read(range(model.layers)[::-1]):
        for batch in batches(windows, tokens):
            x = entered[_of_layer(index, windows, batch)].to(model.device).detach().requires_grad_()
            with torch.enable_grad():
                out, inner = model.through(branches, x)
                values = [each.value for each in inner]
                back, *felt = torch.autograd.grad(out, [x, *values], gradient[batch].to(model.device))
            for each, change in zip(inner, felt, strict=True):
                total = (each.value.detach() * change).square().sum(0, dtype=torch.float64)
                sums[fisher_key(index, each.routed.expert)].add_(total)
            gradient.put(batch, back.cpu())
            progress.advance(len(x))
