"""Which widths are legal, which are fast, and what a fraction is rounded to."""

import math

from ...errors import WidthError

__all__ = ["check_exact", "expert_notes", "hidden_grid", "kernel_notes", "resolve"]

_KERNEL_GRID = 8  # elements; vLLM's fused add-RMSNorm takes a scalar path off this grid
_EXPERT_GRID = 32  # elements; what vLLM's expert kernels on a CPU take, in both directions


def resolve(
    name: str, fraction: float | None, exact: int | None, old: int, divisor: int, grid: int, notes: list[str]
) -> int:
    """A width: exact ones must be a multiple of `divisor`, fractions are rounded to multiples of `grid`.

    Raises:
        WidthError: an exact width is not legal.
    """
    if exact is not None:
        check_exact(name, exact, old, divisor)
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
        multiple = "" if grid == 1 else f", a multiple of {grid}"
        notes.append(f"{name} {fraction:g} of {old} = {exact_text} was rounded to {width}{multiple}")
    return width


def hidden_grid(fraction: float | None, old: int, divisor: int) -> int:
    """Multiples that kernels like as well, where one is within a hundredth of the model's width."""
    grid = math.lcm(_KERNEL_GRID, divisor)
    asked = (fraction or 1.0) * old
    near = 0 < round(asked / grid) * grid <= old and abs(round(asked / grid) * grid - asked) <= 0.01 * old
    return grid if near else divisor


def check_exact(name: str, width: int, old: int, divisor: int) -> None:
    """Check a width that was given as a number.

    Raises:
        WidthError: it is not positive, more than there is, or no multiple of the divisor.
    """
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


def kernel_notes(name: str, width: int, old: int, divisor: int) -> list[str]:
    """A note when GPU kernels are slow at a width."""
    grid = math.lcm(_KERNEL_GRID, divisor)
    if width == old or width % _KERNEL_GRID == 0 or grid > old:
        return []
    below, above = width // grid * grid, min(width // grid * grid + grid, old)
    nearest = " or ".join(str(value) for value in dict.fromkeys((below, above)) if value)
    return [
        f"{name} {width} is not a multiple of {_KERNEL_GRID}: GPU kernels take a slower path; "
        f"{nearest} is on the grid"
    ]


def expert_notes(name: str, width: int, old: int) -> list[str]:
    """A note when vLLM on a CPU cannot run experts of a width."""
    if width == old or width % _EXPERT_GRID == 0:
        return []
    below, above = width // _EXPERT_GRID * _EXPERT_GRID, -(-width // _EXPERT_GRID) * _EXPERT_GRID
    nearest = " or ".join(str(value) for value in (below, above) if 0 < value <= old) or "none here"
    return [
        f"{name} {width} is not a multiple of {_EXPERT_GRID}: vLLM on a CPU has no expert kernels for it "
        f"(GPUs have); with them: {nearest}"
    ]
