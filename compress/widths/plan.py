"""What was asked -> exact new widths on the grid, and the narrow config that holds them."""

from typing import TYPE_CHECKING, NamedTuple

from ...errors import WidthError
from ..families.family import Axis, Family, Sublayer
from ..families.rows import FAMILIES, require
from ..families.shape import widths_of
from ..record.config import CompressConfig
from ..record.report import Widths
from .grid import check_exact, expert_notes, hidden_grid, kernel_notes, resolve
from .narrow_config import keep_layers, narrow_config

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

__all__ = ["Plan", "make_plan"]


class Plan(NamedTuple):
    """New widths and the stock config that holds them."""

    family: Family  # of the dense model
    narrow_family: Family  # of the narrow one
    dense: Widths
    narrow: Widths
    narrow_config: "PreTrainedConfig"
    changes_basis: bool  # also at full width, when a hidden width was asked for
    dense_tied: bool  # head tied to the embedding in the dense model
    kept_layers: tuple[int, ...]  # numbers of the dense layers that stay, ascending
    notes: tuple[str, ...]

    @property
    def drops_layers(self) -> bool:
        """Whether layers go."""
        return self.narrow.num_hidden_layers != self.dense.num_hidden_layers

    @property
    def chooses_units(self) -> bool:
        """Whether neurons, key-value groups or experts go."""
        return any(self.chooses(sublayer) for sublayer in self.family.sublayers)

    def chooses(self, sublayer: Sublayer) -> bool:
        """Whether units of this sublayer go, or whole experts."""
        drops_experts = self.narrow.num_experts != self.dense.num_experts
        return self.chooses_inside(sublayer) or (sublayer.experts and drops_experts)

    def chooses_inside(self, sublayer: Sublayer) -> bool:
        """Whether neurons or key-value groups of this sublayer go."""
        if sublayer.is_mlp:
            return self.narrow.intermediate_size != self.dense.intermediate_size
        return self.narrow.num_key_value_heads != self.dense.num_key_value_heads

    def keeping(self, layers: tuple[int, ...]) -> "Plan":
        """The plan with these layers of the dense model."""
        keep_layers(self.narrow_config, self.narrow_family, layers)
        return self._replace(kept_layers=layers)


def make_plan(dense_config: "PreTrainedConfig", family: Family, config: CompressConfig) -> Plan:
    """Resolve the widths and build the narrow config. Which layers stay is decided later, by `keeping`.

    Raises:
        WidthError: a width is not positive, wider than the model, off the architecture's grid, or of an axis
            that the family does not have.
        ModelError: the model's config is one that its family cannot keep.
    """
    require(dense_config, family)
    _check_axes(dense_config, family, config)
    dense = widths_of(dense_config, family)
    notes: list[str] = []
    groups = _resolve_count("kv-groups", config.kv_groups, dense.num_key_value_heads, notes)
    layers = _resolve_count("layers", config.layers, dense.num_hidden_layers, notes)
    experts = _resolve_experts(dense_config, config.experts, dense.num_experts, notes)
    heads = dense.num_attention_heads // dense.num_key_value_heads * groups
    divisor = heads if family.hidden_size_divisor else 1
    grid = hidden_grid(config.width, dense.hidden_size, divisor)
    hidden = resolve(
        "hidden_size", config.width, _exact(config.hidden_size), dense.hidden_size, divisor, grid, notes
    )
    mlp_grid = next(grid for grid in (64, 8, 1) if dense.intermediate_size % grid == 0)
    inner = resolve(
        "intermediate_size",
        config.mlp_width,
        _exact(config.intermediate_size),
        dense.intermediate_size,
        1,
        mlp_grid,
        notes,
    )
    notes.extend(_width_notes(family, dense, hidden, inner, divisor))
    changed = {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_key_value_heads": groups,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_experts": experts,
    }
    narrow = Widths(**vars(dense) | changed)
    narrow_family = _narrow_family(dense_config, family, narrow)
    changes_basis = config.width is not None or config.hidden_size is not None
    return Plan(
        family=family,
        narrow_family=narrow_family,
        dense=dense,
        narrow=narrow,
        narrow_config=narrow_config(dense_config, family, narrow_family, narrow, changes_basis=changes_basis),
        changes_basis=changes_basis,
        dense_tied=bool(dense_config.tie_word_embeddings),
        kept_layers=tuple(range(dense.num_hidden_layers)),
        notes=(*notes, *_family_notes(family, narrow_family, changes_basis=changes_basis)),
    )


def _exact(size: float | None) -> int | None:
    """A fraction has become one, see `CompressConfig`."""
    return None if size is None else int(size)


def _width_notes(family: Family, dense: Widths, hidden: int, inner: int, divisor: int) -> list[str]:
    """What kernels make of the new widths."""
    notes = kernel_notes("hidden_size", hidden, dense.hidden_size, divisor)
    notes += kernel_notes("intermediate_size", inner, dense.intermediate_size, 1)
    if family.experts_key is not None:
        notes += expert_notes("hidden_size", hidden, dense.hidden_size)
        notes += expert_notes("intermediate_size", inner, dense.intermediate_size)
    return notes


def _check_axes(dense_config: "PreTrainedConfig", family: Family, config: CompressConfig) -> None:
    asked: dict[Axis, bool] = {
        "hidden": config.width is not None or config.hidden_size is not None,
        "mlp": config.mlp_width is not None or config.intermediate_size is not None,
        "kv_groups": config.kv_groups is not None,
        "layers": config.layers is not None,
        "experts": config.experts is not None,
    }
    for axis in (axis for axis, wanted in asked.items() if wanted):
        limit = family.limit(axis, dense_config)
        if limit is not None:
            raise WidthError(limit.reason)
    if asked["hidden"] and not family.rotates and config.settings().method != "magnitude":
        raise WidthError(
            f"{family.name} has a norm with a gain behind each sublayer, which no rotation passes; "
            "narrow its hidden size with --method magnitude (kept coordinates), or its MLP, heads or depth."
        )


def _resolve_count(name: str, asked: float | None, old: int, notes: list[str]) -> int:
    """A whole number, exact or as a fraction of the old one."""
    if asked is None:
        return old
    if isinstance(asked, int):
        check_exact(name, asked, old, 1)
        return asked
    return resolve(name, asked, None, old, 1, 1, notes)


def _resolve_experts(
    dense_config: "PreTrainedConfig", asked: float | None, old: int, notes: list[str]
) -> int:
    """Experts of a layer; as many as serve one token must stay."""
    experts = _resolve_count("experts", asked, old, notes)
    served_by = getattr(dense_config, "num_experts_per_tok", 0)
    if asked is not None and experts < served_by:
        raise WidthError(
            f"experts {experts} cannot be used: each token is served by {served_by}; give at least "
            f"{served_by}, or narrow the experts with --intermediate-size."
        )
    return experts


def _narrow_family(dense_config: "PreTrainedConfig", family: Family, narrow: Widths) -> Family:
    """The row that the result is written as.

    Raises:
        WidthError: engines would work out another head_dim, and there is no other row.
    """
    heads, head_dim = narrow.num_attention_heads, narrow.head_dim
    if not family.ties_head_dim(dense_config) or heads * head_dim == narrow.hidden_size:
        return family
    if family.rewritten_as is not None:
        return FAMILIES[family.rewritten_as]
    fitting = narrow.hidden_size // head_dim
    raise WidthError(
        f"{family.name} works its head_dim out as hidden_size / heads, so {heads} heads of {head_dim} need "
        f"hidden_size {heads * head_dim}, not {narrow.hidden_size}; give --hidden-size {heads * head_dim}, "
        f"or as many --kv-groups as make {fitting} heads of it, or narrow the MLP or the depth alone."
    )


def _family_notes(family: Family, narrow_family: Family, *, changes_basis: bool) -> list[str]:
    if changes_basis and narrow_family.vllm_ties_head:
        return [
            f"vLLM takes {narrow_family.name}'s head from its embedding, and narrowing the hidden size "
            "unties them: transformers and ONNX Runtime run the result, vLLM does not load it"
        ]
    if narrow_family is family:
        return []
    return [
        f"written as {narrow_family.architecture}: engines work {family.name}'s head_dim out as hidden_size "
        "/ heads, which no longer holds"
    ]
