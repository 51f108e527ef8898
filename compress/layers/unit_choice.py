"""Which inner units and experts of a sublayer stay, from what the dense stream shows of them.

Shapes: i inner size; n tokens that an expert sees.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..maths.basis import largest
from ..maths.moments import second_moment
from ..streams.activations import Branch, Inner
from .fisher import fisher_key
from .job import Job
from .nystrom import keep_by_leverage
from .units import (
    Chosen,
    Units,
    group_energy,
    keep_units,
    merge_neurons,
    output_energy,
    transport_outputs,
)

__all__ = ["InnerSums"]


class InnerSums:
    """Second moments of what the writers of one dense sublayer read, as far as the choice needs them."""

    def __init__(self, job: Job, branch: Branch, index: int) -> None:
        """Sums over no rows.

        Args:
            job: what to do.
            branch: the dense sublayer.
            index: of its layer in the narrow model.
        """
        self.job, self.branch, self.index = job, branch, index
        size = branch.sites.read(branch.sublayer.writer).weight.shape[1]
        method = job.config.mlp_method if branch.sublayer.is_mlp else None
        full = method not in ("magnitude", "fisher")
        shape = (size, size) if full else (size,)
        # group energies and transport costs need few digits, and nothing is solved with them
        dtype = torch.float32 if full and method != "nystrom" else torch.float64
        self.sums = [torch.zeros(shape, dtype=dtype, device=job.device) for _ in branch.sites.experts]

    def add(self, inner: list[Inner]) -> None:
        """Add a batch."""
        for routed, value in inner:
            total = self.sums[routed.expert]
            rows = value if routed.share is None else value * routed.share
            if total.ndim == 2:
                second_moment(total, rows)
            else:
                total.add_(rows.square().sum(0, dtype=torch.float64))

    def gather(self) -> None:
        """Add up what all processes have seen."""
        self.job.ranks.summed(*self.sums)

    def choose(self) -> Chosen:
        """The experts that add most, and the units of each."""
        experts = self._experts()
        if not self.job.plan.chooses_inside(self.branch.sublayer):
            return Chosen(experts, {})
        pick = self._neurons if self.branch.sublayer.is_mlp else self._groups
        return Chosen(experts, {expert: pick(expert, self.sums[expert]) for expert in experts})

    def _experts(self) -> tuple[int, ...]:
        count = self.job.plan.narrow.num_experts
        if not self.branch.sublayer.experts or count == len(self.sums):
            return tuple(range(len(self.sums)))
        energies = [self._neuron_energy(expert).sum() for expert in range(len(self.sums))]
        return tuple(largest(np.array(energies), count).tolist())

    def _groups(self, expert: int, total: Tensor) -> Units:
        writer = self.branch.sites.writer(expert).weight.cpu().numpy()
        dense, narrow = self.job.plan.dense, self.job.plan.narrow
        score = group_energy(total.cpu().double().numpy(), writer, dense.num_key_value_heads)
        return keep_units(score, narrow.num_key_value_heads)

    def _neurons(self, expert: int, total: Tensor) -> Units:
        config, width = self.job.config, self.job.plan.narrow.intermediate_size
        score = self._neuron_energy(expert)
        if config.mlp_method == "fisher":
            felt = self.job.fisher[fisher_key(self.job.plan.kept_layers[self.index], expert)]
            return keep_units(np.sqrt(score * felt.numpy()), width)
        if total.ndim == 1:
            return keep_units(score, width)
        inner = total.cpu().double().numpy()
        if config.mlp_method == "nystrom":
            return keep_by_leverage(inner, width)
        if config.mlp_method == "magnitude+dot":
            return transport_outputs(inner, score, width, reg=config.reg)
        signed = config.signed and self.branch.sublayer.site("up") is not None
        return merge_neurons(inner, score, width, reg=config.reg, signed=signed, mass=config.mass)

    def _neuron_energy(self, expert: int) -> NDArray[np.float64]:
        """What each neuron adds to the stream, (m,)."""
        total = self.sums[expert]
        inner = (total if total.ndim == 1 else total.diagonal()).cpu().double().numpy()
        writer = self.branch.sites.writer(expert).weight
        return output_energy(inner, writer.square().sum(0).cpu().numpy())
