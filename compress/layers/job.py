"""What the layer-by-layer pass carries along: the decisions that hold for all layers, and the two streams.

Shapes: w windows of t tokens; d, k old and new hidden size.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import TextError
from ..families.family import Family
from ..families.surgery import layer_class
from ..maths.basis import Basis
from ..maths.fold import stream_scale, unfitted_readout
from ..record.config import Settings
from ..record.progress import Progress
from ..record.report import Widths
from ..streams.activations import Branch, batches, branches_of
from ..streams.ranks import Ranks
from ..streams.stream import Stream, StreamRoom
from ..widths.plan import Plan
from .rounded_sites import Rounding

__all__ = ["Job", "Streams", "held_last", "keeps_inner"]

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

    family: Family  # of the dense model
    dense_config: Any
    plan: Plan
    config: Settings
    project: Tensor | None  # Q (d, k) times the stream's scale, float64 on the device; None: the stream stays
    readout: Tensor | None  # unfitted M (k, d) float64 on the device; None: the identity
    windows: int  # calibration windows of all processes
    tokens: int  # calibration tokens of all processes
    stored_dtype: torch.dtype
    device: torch.device
    progress: Progress
    ranks: Ranks = field(default_factory=Ranks)
    fisher: dict[str, Tensor] = field(default_factory=dict)  # of `neuron_fisher`, where neurons go by it
    rounding: Rounding | None = None  # of the matrices, on the way; None: they stay floats

    @classmethod
    def of(cls, basis: Basis | None, *, device: torch.device, **rest: Any) -> "Job":
        """Build a job from a basis, None when the stream keeps its own."""
        project = readout = None
        if basis is not None:
            project = torch.from_numpy(basis.project).to(device) * stream_scale(*basis.project.shape)
            readout = unfitted_readout(torch.from_numpy(basis.expand)).to(device)
        return cls(project=project, readout=readout, device=device, **rest)

    @property
    def epsilon(self) -> float:
        """What norms add under the root, in both models."""
        return self.family.epsilon_of(self.dense_config)

    @cached_property
    def readout_prior(self) -> Tensor:
        """Where fits of the readout start, (k, d)."""
        if self.readout is not None:
            return self.readout
        return torch.eye(self.plan.dense.hidden_size, dtype=torch.float64, device=self.device)

    @cached_property
    def make_layer(self) -> Any:
        """The class of the narrow model's layers."""
        return layer_class(self.plan.narrow_config, self.plan.narrow_family)

    def dense_branches(self, layer: nn.Module, arguments: list[dict[str, Any]]) -> list[Branch]:
        """The branches of a dense layer."""
        return branches_of(layer, self.family, self.dense_config, arguments)

    def narrow_branches(self, layer: nn.Module, arguments: list[dict[str, Any]]) -> list[Branch]:
        """The branches of a narrow layer."""
        return branches_of(layer, self.plan.narrow_family, self.plan.narrow_config, arguments)

    def projected(self, dense: Tensor) -> Tensor:
        """A dense stream (..., d) in the narrow basis, (..., k), in the stream's dtype."""
        if self.project is None:
            return dense
        return dense @ (self._project_single if dense.dtype == torch.float32 else self.project)

    @cached_property
    def _project_single(self) -> Tensor:
        assert self.project is not None
        return self.project.float()

    def ridge(self, tokens: int) -> float:
        """Relative strength of the penalty on a fit to so many tokens, for `fit.ridge_solve`."""
        return self.config.ridge_share + self.config.ridge_tokens / tokens

    @cached_property
    def parallel(self) -> bool:
        """Whether the sublayers of a layer run side by side."""
        return self.family.runs_in_parallel(self.dense_config)

    @property
    def fits_readout(self) -> bool:
        """Whether readouts are fitted."""
        return self.config.compensate != "none"

    @property
    def needs_dense_stream(self) -> bool:
        """Whether anything looks at the dense activations."""
        return self.fits_readout or self.plan.chooses_units

    def place(self, layer: int) -> str:
        """Path of a layer in the narrow model."""
        return f"{self.plan.narrow_family.layers}.{layer}"

    @property
    def set_dtype(self) -> torch.dtype:
        """Of matrices that were just set: what is rounded to a grid must not have been rounded before."""
        return self.stored_dtype if self.rounding is None else torch.float32

    @property
    def steps(self) -> int:
        """How often a window passes through a sublayer, or a part of it, in all layers."""
        sublayers, dense = self.family.sublayers, int(self.needs_dense_stream)
        kept, all_layers = len(self.plan.kept_layers), self.plan.dense.num_hidden_layers
        each = len(sublayers) * (dense + self.fits_readout + self.fits_writer)
        mlps = sum(part.is_mlp for part in sublayers)
        return (
            kept * (each + PASSES_PER_STEP * mlps * self.neuron_steps + len(sublayers) * self.epochs)
            + (all_layers - kept) * len(sublayers) * dense
        )

    @property
    def neuron_steps(self) -> int:
        """Steps on gate and up per layer. At full width the unfitted model is exact, and none are taken."""
        return self.config.neuron_steps if self.fits_writer and self.plan.narrow != self.plan.dense else 0

    @property
    def epochs(self) -> int:
        """Epochs of local training per sublayer; none at full width, where the unfitted model is exact."""
        changes = self.plan.narrow != self.plan.dense
        return self.config.amount.epochs if self.fits_writer and changes else 0

    @property
    def held_windows(self) -> int:
        """Calibration windows that are kept from every fit, to see when training stops helping."""
        every = self.config.amount.held_every
        return max(1, self.windows // every) if self.epochs and every else 0

    @property
    def products(self) -> torch.dtype:
        """Of the products of one batch in the sums of the fits; the sums over batches are float64."""
        return torch.float32 if self.config.amount.fast else torch.float64

    @property
    def fits_writer(self) -> bool:
        """Whether writers are fitted."""
        return self.config.compensate == "full"


def held_last(token_ids: Tensor, held: int) -> Tensor:
    """The same windows (w, t) with `held` of them, evenly spread, at the end.

    Raises:
        TextError: all windows would be held.
    """
    windows = len(token_ids)
    if held >= windows:
        raise TextError(
            f"the calibration holds {windows} window, and effort thorough keeps {held} from the fits; "
            "give more text, smaller --window-tokens, or another --effort."
        )
    last = ((torch.arange(held) + 0.5) * windows / max(held, 1)).long()
    chosen = torch.zeros(windows, dtype=torch.bool)
    chosen[last] = True
    return torch.cat([token_ids[~chosen], token_ids[chosen]])


@dataclass
class Streams:
    """The two residual streams at the same place in the network, float32 on the CPU."""

    dense: Stream  # (w, t, d)
    narrow: Stream | None  # (w, t, k); None when nothing is fitted
    held: int = 0  # windows at the end that no fit sees
    room: StreamRoom = field(default_factory=StreamRoom)
    entered: tuple[Stream, Stream | None] | None = None  # both before a layer whose sublayers all read that
    before: int = 0  # windows of fits that other processes own and that come before these
    fitted_by_all: int | None = None  # windows of fits that all processes own; None: there is one process

    def enter_layer(self, *, parallel: bool) -> None:
        """Call before a layer; `parallel` says that no sublayer reads what another one added."""
        self.entered, narrow = None, self.narrow
        if parallel:
            self.entered = (self.room.copy(self.dense), None if narrow is None else self.room.copy(narrow))

    def read_dense(self, batch: slice) -> Tensor:
        """What the next sublayer of the dense layer reads, (b, t, d)."""
        return (self.dense if self.entered is None else self.entered[0])[batch]

    def read_narrow(self, batch: slice) -> Tensor:
        """What the next sublayer of the narrow layer reads, (b, t, k)."""
        narrow = self.narrow if self.entered is None else self.entered[1]
        assert narrow is not None
        return narrow[batch]

    @property
    def fitted(self) -> int:
        """Windows in front of the held ones."""
        return len(self.dense) - self.held

    @property
    def first_batch(self) -> int:
        """Number of the first batch of the windows that fits see, among those of all processes."""
        return len(list(batches(self.before, self.dense.shape[1])))

    def slices(self) -> list[slice]:
        """Batches of all windows, those that fits see first."""
        return self.fitted_slices() + self.held_slices()

    def fitted_slices(self) -> list[slice]:
        """Batches of the windows that fits see."""
        return list(batches(self.fitted, self.dense.shape[1]))

    def held_slices(self) -> list[slice]:
        """Batches of the held windows."""
        found = batches(self.held, self.dense.shape[1])
        return [slice(self.fitted + part.start, self.fitted + part.stop) for part in found]
