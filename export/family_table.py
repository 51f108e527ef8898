"""The table of families in the README, made from the rows and from what the exports know."""

from ..compress.families.family import Axis, Family
from ..compress.families.rows import FAMILIES
from .for_gguf.forms import FORMS
from .to_onnx import ARCHITECTURES

__all__ = ["family_table"]

_COLUMNS = (
    "family",
    "class in transformers",
    "hidden width",
    "MLP width",
    "KV groups",
    "layers",
    "experts",
    "ONNX",
    "GGUF",
)
_WINDOWED = ("mistral", "phi3")  # may have a window without layer_types
_AXES: tuple[Axis, ...] = ("kv_groups", "layers", "experts")


def family_table() -> str:
    """Markdown: a line per family, along which axes it narrows, and what it can be exported to."""
    lines = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    for row in FAMILIES.values():
        cells = [
            row.name,
            f"`{row.architecture}`",
            _hidden(row),
            "yes",
            *(_cell(row, axis) for axis in _AXES),
            _onnx(row),
            _gguf(row),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _onnx(row: Family) -> str:
    if row.architecture not in ARCHITECTURES:
        return "no"
    return "without a sliding window [6]" if row.model_type in _WINDOWED else "yes"


def _gguf(row: Family) -> str:
    if row.architecture not in FORMS:
        return "no"
    return "yes" if row.rewritten_as is None else "with its hidden width and KV groups [5]"


def _hidden(row: Family) -> str:
    if any(limit.axis == "hidden" and limit.key is None for limit in row.limits):
        return "no [4]"
    if row.derives_head_dim is True and row.rewritten_as is None:
        return "with KV groups [1]"
    if row.rewritten_as is not None:
        return f"yes, written as `{FAMILIES[row.rewritten_as].architecture}` [2]"
    if isinstance(row.derives_head_dim, tuple):
        return f"yes; {' or '.join(row.derives_head_dim[1])}: with KV groups [1]"
    if row.vllm_ties_head:
        return "`--method magnitude` [3], not for vLLM [7]"
    return "yes" if row.rotates else "`--method magnitude` [3]"


def _cell(row: Family, axis: Axis) -> str:
    if axis == "experts":
        return "yes" if row.experts_key else ""
    limits = [limit for limit in row.limits if limit.axis == axis]
    if any(limit.key is None for limit in limits):
        return "no"
    if axis == "kv_groups":
        if row.derives_head_dim is True and row.rewritten_as is None:
            return "with hidden width [1]"
        if row.rewritten_as is not None:
            return f"yes, written as `{FAMILIES[row.rewritten_as].architecture}` [2]"
        if isinstance(row.derives_head_dim, tuple):
            return f"yes; {' or '.join(row.derives_head_dim[1])}: with hidden width [1]"
    return f"not with `{limits[0].key}`" if limits else "yes"
