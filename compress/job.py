"""What the layer-by-layer pass carries along: the decisions that hold for all layers, and the two streams.

Shapes: w windows of t tokens; d, k old and new hidden size.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .activations import batches
from .basis import Basis
from .config import Settings
from .families import Family
from .fold import unfitted_readout
from .plan import Plan
from .progress import Progress
from .report import Widths

__all__ = ["Job", "Streams", "keeps_inner"]

PASSES_PER_STEP = 2  # of a step on gate and up: first guess of the writer, direction; parts are not counted
KEPT_LAYERS = 8


def keeps_inner(dense: Widths, tokens: int, *, inner_width: int) -> bool:
    """Whether a sublayer's inner activations stay in memory until its writer is fitted.

    They may take as much as the dense stream, or as eight dense layers in float32.
    """
    heads = dense.num_attention_heads + dense.num_key_value_heads
    layer = dense.hidden_size * (2 * dense.head_dim * heads + 3 * dense.intermediate_size)
    return tokens * inner_width <= max(tokens * dense.hidden_size, KEPT_LAYERS * layer)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What stays the same for all layers."""

    family: Family
    plan: Plan
    config: Settings
    epsilon: float
    project: Tensor  # Q (d, k) float64 on the device
    readout: Tensor  # unfitted M (k, d) float64 on the device
    tokens: int  # calibration tokens
    stored_dtype: torch.dtype
    device: torch.device
    progress: Progress

    @classmethod
    def of(cls, basis: Basis, *, device: torch.device, **rest: Any) -> "Job":
        """Build a job from a basis."""
        return cls(
            project=torch.from_numpy(basis.project).to(device),
            readout=unfitted_readout(torch.from_numpy(basis.expand)).to(device),
            device=device,
            **rest,
        )

    @property
    def narrow_epsilon(self) -> float:
        """`rms_norm_eps` of the narrow model."""
        return float(self.plan.narrow_config.rms_norm_eps)

    @property
    def ridge(self) -> float:
        """Relative strength of the penalty, for `fit.ridge_solve`."""
        return self.config.ridge_tokens / self.tokens

    @property
    def fits_readout(self) -> bool:
        """Whether readouts are fitted."""
        return self.config.compensate != "none"

    @property
    def needs_dense_stream(self) -> bool:
        """Whether anything looks at the dense activations."""
        return self.fits_readout or self.plan.narrows_mlp

    @property
    def passes(self) -> int:
        """How often a window passes through a layer's sublayers."""
        each = self.needs_dense_stream + self.fits_readout + self.fits_writer
        steps = sum(part.is_mlp for part in self.family.sublayers) * self.neuron_steps
        return len(self.family.sublayers) * each + PASSES_PER_STEP * steps

    @property
    def neuron_steps(self) -> int:
        """Steps on gate and up per layer. At full width the unfitted model is exact, and none are taken."""
        return self.config.neuron_steps if self.fits_writer and self.plan.narrow != self.plan.dense else 0

    @property
    def fits_writer(self) -> bool:
        """Whether writers are fitted."""
        return self.config.compensate == "full"


@dataclass
class Streams:
    """The two residual streams at the same place in the network, float32 on the CPU."""

    dense: Tensor  # (w, t, d)
    narrow: Tensor | None  # (w, t, k); None when nothing is fitted

    def slices(self) -> list[slice]:
        """Batches of windows."""
        return list(batches(*self.dense.shape[:2]))
