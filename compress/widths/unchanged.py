"""An axis that was asked for and stays as it is.

From Python that is allowed: at full width a model is only written in another basis, which tests and
experiments want. A command that would change nothing there is refused.
"""

from ...errors import WidthError
from ..record.config import CompressConfig
from .grid import hidden_grid
from .plan import Plan

__all__ = ["check_changes"]


def check_changes(config: CompressConfig, plan: Plan) -> None:
    """Refuse every axis that was asked for without effect, also beside others that have one.

    Raises:
        WidthError: one is; it says which width is the next that changes something.
    """
    dense, narrow = plan.dense, plan.narrow
    divisor = narrow.num_attention_heads if plan.family.hidden_size_divisor else 1
    asked = {
        "hidden_size": (config.width or config.hidden_size, hidden_grid(None, dense.hidden_size, divisor)),
        "intermediate_size": (
            config.mlp_width or config.intermediate_size,
            next(grid for grid in (64, 8, 1) if dense.intermediate_size % grid == 0),
        ),
        "num_key_value_heads": (config.kv_groups, 1),
        "num_hidden_layers": (config.layers, 1),
        "num_experts": (config.experts, 1),
    }
    options = {"num_key_value_heads": "kv_groups", "num_hidden_layers": "layers", "num_experts": "experts"}
    for name, (value, grid) in asked.items():
        own = int(getattr(dense, name))
        if value is None or getattr(narrow, name) != own:
            continue
        below = (own - 1) // grid * grid
        instead = f"the next narrower one is {below}" if below else "it cannot be narrower"
        option = options.get(name, name).replace("_", "-")
        raise WidthError(
            f"--{option} {value} changes nothing: the model has {own}; {instead}, or leave --{option} out"
        )
