"""What was asked -> exact new widths on the grid, the narrow config, and exact sizes."""

import copy
import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from ..errors import WidthError
from .config import CompressConfig
from .families import Family
from .fold import narrow_epsilon
from .report import Counts, Widths

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

__all__ = ["Plan", "count_sizes", "make_plan", "widths_of"]

_KERNEL_GRID = 8  # elements; vLLM's fused add-RMSNorm takes a scalar path off this grid


class Plan(NamedTuple):
    """New widths and the stock config that holds them."""

    dense: Widths
    narrow: Widths
    narrow_config: "PreTrainedConfig"
    changes_basis: bool  # also at full width, when a hidden width was asked for
    dense_tied: bool  # head tied to the embedding in the dense model
    notes: tuple[str, ...]

    @property
    def narrows_mlp(self) -> bool:
        """Whether the MLP loses neurons."""
        return self.narrow.intermediate_size != self.dense.intermediate_size


def widths_of(config: "PreTrainedConfig") -> Widths:
    """The dimensions of a Hugging Face config."""
    heads = config.num_attention_heads
    return Widths(
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=heads,
        num_key_value_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        vocab_size=config.vocab_size,
    )


def make_plan(dense_config: "PreTrainedConfig", family: Family, config: CompressConfig) -> Plan:
    """Resolve the widths and build the narrow config.

    Raises:
        WidthError: a width is not positive, wider than the model, or off the architecture's grid.
    """
    dense = widths_of(dense_config)
    divisor = getattr(dense_config, family.hidden_size_divisor) if family.hidden_size_divisor else 1
    notes: list[str] = []
    hidden_grid = _hidden_grid(config.width, dense.hidden_size, divisor)
    hidden = _resolve(
        "hidden_size", config.width, config.hidden_size, dense.hidden_size, divisor, hidden_grid, notes
    )
    mlp_grid = next(grid for grid in (64, 8, 1) if dense.intermediate_size % grid == 0)
    inner = _resolve(
        "intermediate_size",
        config.mlp_width,
        config.intermediate_size,
        dense.intermediate_size,
        1,
        mlp_grid,
        notes,
    )
    notes.extend(_kernel_notes("hidden_size", hidden, dense.hidden_size, divisor))
    notes.extend(_kernel_notes("intermediate_size", inner, dense.intermediate_size, 1))
    narrow = Widths(**{**vars(dense), "hidden_size": hidden, "intermediate_size": inner})
    changes_basis = config.width is not None or config.hidden_size is not None
    return Plan(
        dense=dense,
        narrow=narrow,
        narrow_config=_narrow_config(dense_config, family, dense, narrow, changes_basis),
        changes_basis=changes_basis,
        dense_tied=bool(dense_config.tie_word_embeddings),
        notes=tuple(notes),
    )


def _hidden_grid(fraction: float | None, old: int, divisor: int) -> int:
    """Multiples that kernels like as well, where one is within a hundredth of the model's width."""
    grid = math.lcm(_KERNEL_GRID, divisor)
    asked = (fraction or 1.0) * old
    near = 0 < round(asked / grid) * grid <= old and abs(round(asked / grid) * grid - asked) <= 0.01 * old
    return grid if near else divisor


def _resolve(
    name: str, fraction: float | None, exact: int | None, old: int, divisor: int, grid: int, notes: list[str]
) -> int:
    """A width: exact ones must be a multiple of `divisor`, fractions are rounded to multiples of `grid`."""
    if exact is not None:
        _check_exact(name, exact, old, divisor)
        return exact
    if fraction is None or fraction == 1.0:
        return old
    width = min(max(round(fraction * old / grid) * grid, grid), old)
    if width == old:
        raise WidthError(
            f"{name} {fraction:g} of {old} = {fraction * old:.1f} is rounded to {old}, a multiple of {grid}, "
            f"which changes nothing; the next narrower one is {(old - 1) // grid * grid or old}"
        )
    if width != fraction * old:
        exact_text = f"{fraction * old:.1f}"
        notes.append(
            f"{name} {fraction:g} of {old} = {exact_text} was rounded to {width}, a multiple of {grid}"
        )
    return width


def _check_exact(name: str, width: int, old: int, divisor: int) -> None:
    if 0 < width <= old and (width % divisor == 0 or width == old):
        return
    below = min(max(width // divisor * divisor, divisor), old // divisor * divisor)
    above = min(below + divisor, old)
    nearest = str(below) if below == above else f"{below} and {above}"
    reason = (
        "it must be positive"
        if width <= 0
        else f"the model has {old}"
        if width > old
        else f"it must be a multiple of the {divisor} attention heads (transformers refuses others)"
    )
    raise WidthError(f"{name} {width} cannot be used: {reason}. Nearest legal: {nearest}.")


def _kernel_notes(name: str, width: int, old: int, divisor: int) -> list[str]:
    grid = math.lcm(_KERNEL_GRID, divisor)
    if width == old or width % _KERNEL_GRID == 0 or grid > old:
        return []
    below, above = width // grid * grid, min(width // grid * grid + grid, old)
    nearest = " or ".join(str(value) for value in dict.fromkeys((below, above)) if value)
    return [
        f"{name} {width} is not a multiple of {_KERNEL_GRID}: GPU kernels take a slower path; "
        f"{nearest} is on the grid"
    ]


def _narrow_config(
    dense_config: "PreTrainedConfig", family: Family, dense: Widths, narrow: Widths, changes_basis: bool
) -> "PreTrainedConfig":
    config = copy.deepcopy(dense_config)
    config.architectures = [family.architecture]
    config.intermediate_size = narrow.intermediate_size
    config.head_dim = dense.head_dim
    config.num_key_value_heads = dense.num_key_value_heads
    if changes_basis:
        config.hidden_size = narrow.hidden_size
        config.rms_norm_eps = narrow_epsilon(dense_config.rms_norm_eps, dense.hidden_size, narrow.hidden_size)
        config.tie_word_embeddings = False  # the head reads through the readout, the embedding does not
    return config


def count_sizes(config: "PreTrainedConfig", family: Family, dtype: torch.dtype) -> Counts:
    """Exact sizes of the stock model that a config describes, counted on the meta device."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    embedding = model.get_submodule(family.embedding).weight.numel()
    tied = bool(config.tie_word_embeddings)
    head = model.get_submodule(family.head).weight
    body = sum(
        p.numel()
        for name, p in model.named_parameters()
        if not name.startswith((family.embedding, family.head))
    )
    matrices = sum(
        p.numel() for name, p in model.named_parameters() if p.ndim == 2 and name.startswith(family.layers)
    )
    widths = widths_of(config)
    item_bytes = torch.empty((), dtype=dtype).element_size()
    stored = embedding + (0 if tied else head.numel()) + body
    return Counts(
        embedding_parameters=embedding,
        head_parameters=0 if tied else head.numel(),
        layer_parameters=body,
        weight_bytes=stored * item_bytes,
        flops_per_token=2 * (matrices + head.numel()),
        kv_cache_bytes_per_token=2
        * widths.num_hidden_layers
        * widths.num_key_value_heads
        * widths.head_dim
        * item_bytes,
    )
