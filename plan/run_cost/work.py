"""PURE: the multiply-adds of one compression, by the arithmetic that does them, and the time that they take.

Shapes: T calibration tokens in windows of t; d, k old and new hidden size; i inner width of a sublayer. A
product (n, p) (p, q) counts 2 n p q operations; of a second moment, only blocks on and below the diagonal
are multiplied. Left out: norms, activations, transports, the disk.
"""

import math
from dataclasses import dataclass

from ...compress.families.family import Sublayer
from ...compress.layers.fisher import windows_felt
from ...compress.layers.job import keeps_inner
from ...compress.layers.neuron_fit import PART
from ...compress.maths.moments import BLOCK_COLUMNS
from ...compress.record.config import Settings
from ...compress.record.report import Widths
from ...compress.streams.activations import batches
from ...compress.widths.plan import Plan

__all__ = ["Rates", "Work", "compression_work", "layers_work", "seconds_of_work"]

EIGENVECTORS = 9  # d^3 operations of a symmetric eigendecomposition with its vectors
FORWARD_AND_BACKWARD = 3  # forward passes that one training step counts for


@dataclass(frozen=True, kw_only=True)
class Work:
    """Operations by arithmetic."""

    single: float = 0.0  # float32
    double: float = 0.0  # float64
    fast: float = 0.0  # float32 with the reduced precision that the hardware is fastest at

    def __add__(self, other: "Work") -> "Work":
        return Work(
            single=self.single + other.single,
            double=self.double + other.double,
            fast=self.fast + other.fast,
        )


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Operations per second of large matrix products."""

    single: float
    double: float
    fast: float


def seconds_of_work(work: Work, rates: Rates) -> float:
    """How long the products take at these rates."""
    return work.single / rates.single + work.double / rates.double + work.fast / rates.fast


def compression_work(plan: Plan, settings: Settings, *, tokens: int, window_tokens: int, active: int) -> Work:
    """All operations of `compress`.

    Args:
        plan: of the run.
        settings: of the run.
        tokens: T.
        window_tokens: t.
        active: experts that one token visits; 1 in a model without.
    """
    shape = _Shape(plan=plan, settings=settings, tokens=tokens, context=window_tokens, active=active)
    return shape.survey() + shape.layers() + shape.ends()


def layers_work(plan: Plan, settings: Settings, *, tokens: int, window_tokens: int, active: int) -> Work:
    """Those of the second pass through all layers; arguments as of `compression_work`."""
    return _Shape(plan=plan, settings=settings, tokens=tokens, context=window_tokens, active=active).layers()


@dataclass(frozen=True, kw_only=True)
class _Shape:
    plan: Plan
    settings: Settings
    tokens: int
    context: int
    active: int

    @property
    def fits(self) -> bool:
        return self.settings.compensate != "none"

    def survey(self) -> Work:
        """One dense pass with the second moment of the stream, and the basis."""
        if not self.plan.changes_basis and not self.plan.drops_layers:
            return self._fisher()
        dense, sublayers = self.plan.dense, self.plan.family.sublayers
        sites = dense.num_hidden_layers * len(sublayers) + 1
        moments = sites * _moment(self.tokens, dense.hidden_size)
        basis = EIGENVECTORS * dense.hidden_size**3 if self.plan.changes_basis else 0
        passes = dense.num_hidden_layers * sum(self._forward(part, dense) for part in sublayers)
        return Work(single=passes, double=moments + basis) + self._fisher()

    def _fisher(self) -> Work:
        """What the loss feels of the neurons: forward, again, and back to activations; and the head."""
        if self.settings.mlp_method != "fisher" or not self.plan.chooses_inside(self.plan.family.mlp):
            return Work()
        dense = self.plan.dense
        share = windows_felt(self.tokens // self.context, self.context) * self.context / self.tokens
        layers = dense.num_hidden_layers * sum(
            self._forward(part, dense) for part in self.plan.family.sublayers
        )
        head = 2 * self.tokens * dense.vocab_size * dense.hidden_size
        return Work(single=share * (3 * layers + 2 * head))

    def layers(self) -> Work:
        """Both streams through all layers, with the sums and solutions of the fits."""
        dense, narrow = self.plan.dense, self.plan.narrow
        total = Work()
        for part in self.plan.family.sublayers:
            if self.fits or self.plan.chooses_units:
                total += Work(single=dense.num_hidden_layers * self._forward(part, dense))
            each = self._readout(part) + self._choice(part)
            if self.settings.compensate == "full":
                each += self._writer(part)
            elif self.fits:
                each += Work(single=self._forward(part, narrow))
            count = narrow.num_hidden_layers
            total += Work(single=count * each.single, double=count * each.double, fast=count * each.fast)
        return total

    def ends(self) -> Work:
        """Embedding and head in the new basis."""
        dense, narrow = self.plan.dense, self.plan.narrow
        if not self.plan.changes_basis:
            return Work()
        table = 2 * dense.vocab_size * dense.hidden_size * narrow.hidden_size
        return Work(double=2 * table) + self._readout_sums()

    def _readout(self, part: Sublayer) -> Work:
        """The readout in front of a sublayer and the readers that absorb it."""
        dense, narrow = self.plan.dense, self.plan.narrow
        if not self.fits and not self.plan.changes_basis:
            return Work()
        experts = max(narrow.num_experts, 1) if part.experts else 1
        rows = _reader_rows(part, narrow) * experts
        fold = 2 * rows * dense.hidden_size * narrow.hidden_size
        return Work(double=fold) + (self._readout_sums() if self.fits else Work())

    def _readout_sums(self) -> Work:
        if not self.fits:
            return Work()
        d, k = self.plan.dense.hidden_size, self.plan.narrow.hidden_size
        return self._sums(_moment(self.tokens, k) + 2 * self.tokens * k * d) + Work(
            double=k**3 / 3 + 4 * k**2 * d
        )

    def _choice(self, part: Sublayer) -> Work:
        """The full second moment that key-value groups and transports are chosen by."""
        if not self.plan.chooses_inside(part) or (
            part.is_mlp and self.settings.mlp_method in ("magnitude", "fisher")
        ):
            return Work()
        inner = _inner(part, self.plan.dense)
        if part.is_mlp and self.settings.mlp_method == "nystrom":  # and all its eigenvectors
            experts = max(self.plan.dense.num_experts, 1) if part.experts else 1
            return Work(double=_moment(self.tokens, inner) + experts * 9 * inner**3)
        return Work(single=_moment(self.tokens, inner))

    def _writer(self, part: Sublayer) -> Work:
        """Everything on the narrow stream: inner activations, regression, and moving on."""
        narrow, k = self.plan.narrow, self.plan.narrow.hidden_size
        inner, share = _inner(part, narrow), self._share(part)
        rows = self.tokens * share
        write = 2 * rows * inner * k
        read = self._forward(part, narrow) - write
        keeps = not part.experts and keeps_inner(self.plan.dense, self.tokens, inner_width=inner)
        experts = max(narrow.num_experts, 1) if part.experts else 1
        solve = experts * (inner**3 / 3 + 4 * inner**2 * k)
        total = Work(single=read + write + (0 if keeps else read), double=solve)
        total += self._sums(_moment(rows, inner) + 2 * rows * inner * k)
        if self.plan.narrow != self.plan.dense:
            total += Work(single=self.settings.amount.epochs * FORWARD_AND_BACKWARD * (read + write))
            if part.is_mlp:
                for _ in range(self.settings.neuron_steps):
                    total += self._neuron_step(part, rows, read, write) + Work(double=solve)
        return total

    def _neuron_step(self, part: Sublayer, rows: float, read: float, write: float) -> Work:
        """A first guess of the writer, the gradients, their curvature and lengths, and two checks."""
        k, inner = self.plan.narrow.hidden_size, _inner(part, self.plan.narrow)
        matrices = _reader_rows(part, self.plan.narrow) // inner
        count = len(list(batches(self.tokens // self.context, self.context)))
        looked_at = math.ceil(count / PART) / count  # of the batches, for all but the gradients
        guess = read + _moment(rows, inner) + 2 * rows * inner * k
        gradients = read + 2 * write + matrices * 2 * rows * k * inner
        curvature = 2 * rows * (k**2 + matrices * inner**2) * looked_at
        lines = (2 * read + (1 + matrices) * write) * looked_at
        checks = 2 * (read + write) * looked_at
        solve = matrices * (inner**3 / 3 + 2 * inner**2 * k + k**3 / 3 + 2 * k**2 * inner)
        return Work(fast=guess + gradients + curvature + lines, single=checks, double=solve)

    def _sums(self, operations: float) -> Work:
        """Of a regression: in float64 unless the effort is quick."""
        return Work(fast=operations) if self.settings.amount.fast else Work(double=operations)

    def _share(self, part: Sublayer) -> int:
        return self.active if part.experts else 1

    def _forward(self, part: Sublayer, widths: Widths) -> float:
        """All tokens through one sublayer, scores and weighted sums included."""
        inner, rows = _inner(part, widths), _reader_rows(part, widths)
        products = 2 * self.tokens * self._share(part) * (rows + inner) * widths.hidden_size
        return products if part.is_mlp else products + 4 * self.tokens * self.context * inner


def _moment(rows: float, columns: int) -> float:
    """Operations of `moments.second_moment`."""
    starts = range(0, columns, BLOCK_COLUMNS)
    return 2.0 * rows * sum((columns - start) * min(BLOCK_COLUMNS, columns - start) for start in starts)


def _inner(part: Sublayer, widths: Widths) -> int:
    return widths.intermediate_size if part.is_mlp else widths.num_attention_heads * widths.head_dim


def _reader_rows(part: Sublayer, widths: Widths) -> int:
    """Rows of all readers of a sublayer, of one expert."""
    sizes = {
        "neuron": widths.intermediate_size,
        "query": widths.num_attention_heads * widths.head_dim,
        "key": widths.num_key_value_heads * widths.head_dim,
        "value": widths.num_key_value_heads * widths.head_dim,
        "expert": 0,  # a router is small
    }
    return sum(sizes[site.inner] for site in part.readers)
