"""What the dense model is asked before a layer is narrowed: the basis, and which layers and neurons stay."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from .layers.fisher import neuron_fisher
from .layers.survey import Survey, survey_stream
from .maths.basis import Basis, residual_basis
from .maths.depth import layers_that_stay
from .output.resume import WorkDirectory
from .record.config import Settings
from .record.progress import Progress
from .streams.ranks import Ranks
from .streams.stream import StreamRoom
from .text.calibration import Windows
from .weights.dense import Dense
from .widths.plan import Plan

__all__ = ["FirstLook", "Looks", "basis_and_layers", "felt_by_the_loss"]

T = TypeVar("T")


@dataclass
class Looks:
    """What passes over one dense model showed: calls that narrow it again and again make each pass once."""

    surveys: dict[Hashable, Survey] = field(default_factory=dict)
    fisher: dict[Hashable, dict[str, Tensor]] = field(default_factory=dict)


class FirstLook(NamedTuple):
    """What is needed to look at the dense model before a layer is narrowed."""

    dense: Dense
    config: Settings
    windows: Windows
    arguments: list[list[dict[str, Any]]]
    device: torch.device
    work: WorkDirectory
    progress: Progress
    room: StreamRoom
    ranks: Ranks
    looks: Looks

    @property
    def key(self) -> Hashable:
        """What decides how a pass over the model ends."""
        text = self.windows.record.sha256, self.windows.token_ids.shape
        return *text, self.config.stream_dtype, str(self.device), self.config.seed


def basis_and_layers(plan: Plan, look: FirstLook) -> tuple[Basis | None, Plan]:
    """The residual basis, None when it stays, and the plan with the layers that stay.

    They come from disk when an earlier run got that far.
    """
    if not plan.changes_basis and not plan.drops_layers:
        return None, plan
    dense, config, windows, arguments, device, work, progress, room, ranks, looks = look
    kept = ranks.item(work.load("basis"))
    if kept is None:
        survey = _once(
            looks.surveys,
            look.key,
            lambda: survey_stream(
                dense, windows.token_ids, arguments, device, progress, room=room, ranks=ranks
            ),
        )
        kept = ranks.item(_decided(dense, plan, config, survey) if ranks.is_first else None)
        assert kept is not None
        work.store("basis", *kept)
    tensors, layers = kept
    basis = Basis(tensors["project"].numpy(), tensors["expand"].numpy(), None) if tensors else None
    return basis, plan.keeping(tuple(layers))


def felt_by_the_loss(plan: Plan, look: FirstLook) -> dict[str, Tensor]:
    """What the loss feels of each neuron, from disk when an earlier run got that far; else empty."""
    dense, config, windows, arguments, device, work, progress, room, ranks, looks = look
    if config.mlp_method != "fisher" or not plan.chooses_inside(plan.family.mlp):
        return {}
    kept = ranks.item(work.load("fisher"))
    if kept is not None:
        return kept[0]
    found = _once(
        looks.fisher,
        look.key,
        lambda: neuron_fisher(
            dense,
            windows.token_ids,
            arguments,
            device,
            progress,
            seed=config.seed,
            room=room,
            ranks=ranks,
        ),
    )
    if ranks.is_first:
        work.store("fisher", found, None)
    return found


def _once(known: dict[Hashable, T], key: Hashable, make: Callable[[], T]) -> T:
    if key not in known:
        known[key] = make()
    return known[key]


def _decided(
    dense: Dense, plan: Plan, config: Settings, survey: Survey
) -> tuple[dict[str, Tensor], list[int]]:
    """The residual basis, none when it stays, and the layers that stay."""
    basis = None
    if plan.changes_basis:
        basis = residual_basis(
            survey.moment.numpy(),
            plan.narrow.hidden_size,
            method=config.method,
            reg=config.reg,
            signed=config.signed,
            zero_sum=dense.family.norm_kind == "layer",
        )
    if plan.drops_layers:
        plan = plan.keeping(layers_that_stay(survey.influence, plan.narrow.num_hidden_layers))
    names = () if basis is None else ("project", "expand")
    return {name: torch.from_numpy(getattr(basis, name)) for name in names}, list(plan.kept_layers)
