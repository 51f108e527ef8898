"""One pass over the dense model that shows what each axis could give up.

Shapes: n tokens that an expert sees; i inner width; m neurons, g key-value groups of s columns, e experts.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..compress.families.call_arguments import call_arguments
from ..compress.families.family import Axis
from ..compress.families.shape import widths_of
from ..compress.layers.survey import survey_stream
from ..compress.layers.units import group_energy, output_energy
from ..compress.record.progress import Progress
from ..compress.record.report import Widths
from ..compress.streams.activations import Branch, Inner
from ..compress.weights.dense import Dense
from .proxy import LayerLosses, Observed, tail_shares

__all__ = ["observe_model"]

Array = NDArray[np.float64]


def observe_model(dense: Dense, token_ids: Tensor, device: torch.device, progress: Progress) -> Observed:
    """Spectrum of the residual stream, influence of the layers, energies of neurons, groups and experts.

    Args:
        dense: the model; it is only read.
        token_ids: (w, t) int64; a few windows are enough for a ranking.
        device: where the arithmetic runs.
        progress: told about every window.
    """
    family, widths = dense.family, widths_of(dense.config, dense.family)
    arguments = call_arguments(dense.skeleton, family, token_ids.shape[1], device)
    seen: dict[tuple[int, str], _Sums] = {}

    def observe(index: int, branch: Branch, inner: list[Inner], x: Tensor, change: Tensor) -> None:
        sums = seen.setdefault((index, branch.sublayer.name), _Sums(is_mlp=branch.sublayer.is_mlp))
        sums.add(branch, inner, x, change, widths)

    survey = survey_stream(dense, token_ids, arguments, device, progress, observe)
    layers: list[list[LayerLosses]] = [[] for _ in range(widths.num_hidden_layers)]
    for (index, _), sums in seen.items():
        layers[index].append(sums.losses())
    return Observed(
        spectrum=tail_shares(np.linalg.eigvalsh(survey.moment.numpy()).astype(np.float64)),
        influence=survey.influence.numpy(),
        layers=layers,
    )


@dataclass
class _Sums:
    """Of one sublayer of one layer."""

    is_mlp: bool
    energies: dict[int, Array] = field(default_factory=dict)  # expert -> (m,), or 0 -> (g,)
    ratio: float = 0.0
    tokens: int = 0

    def add(self, branch: Branch, inner: list[Inner], x: Tensor, change: Tensor, widths: Widths) -> None:
        stream = (x + change).square().sum(-1).clamp_min(1e-30)
        self.ratio += float((change.square().sum(-1) / stream).sum(dtype=torch.float64))
        self.tokens += stream.numel()
        for expert in branch.sites.experts:  # also those that no token visits
            width = widths.intermediate_size if self.is_mlp else widths.num_key_value_heads
            self.energies.setdefault(expert, np.zeros(width))
        for routed, value in inner:
            writer = branch.sites.writer(routed.expert).weight
            rows = value if routed.share is None else value * routed.share
            energy = _neurons(rows, writer) if self.is_mlp else _groups(rows, writer, widths)
            total: Array = self.energies[routed.expert] + energy
            self.energies[routed.expert] = total

    def losses(self) -> LayerLosses:
        share = self.ratio / max(self.tokens, 1)
        if not self.is_mlp:
            groups: dict[Axis, Array] = {"kv_groups": tail_shares(self.energies[0])}
            return LayerLosses(share, groups)
        energies = list(self.energies.values())
        totals = np.array([float(energy.sum()) for energy in energies])
        weights = totals / max(float(totals.sum()), 1e-300)
        tails = [weight * tail_shares(energy) for weight, energy in zip(weights, energies, strict=True)]
        found: dict[Axis, Array] = {"mlp": np.sum(tails, axis=0)}
        if len(energies) > 1:
            found["experts"] = tail_shares(totals)
        return LayerLosses(share, found)


def _neurons(rows: Tensor, writer: Tensor) -> Array:
    """(m,) what each neuron adds to the stream."""
    activation = rows.square().sum(0, dtype=torch.float64).cpu().numpy()
    return output_energy(activation, writer.square().sum(0).cpu().double().numpy())


def _groups(rows: Tensor, writer: Tensor, widths: Widths) -> Array:
    """(g,) what each key-value group adds to the stream."""
    groups = widths.num_key_value_heads
    parts = rows.reshape(len(rows), groups, -1).transpose(0, 1)  # (g, n, s)
    moment = torch.block_diag(*(parts.transpose(1, 2) @ parts))  # (i, i)
    return group_energy(moment.cpu().double().numpy(), writer.cpu().double().numpy(), groups)
