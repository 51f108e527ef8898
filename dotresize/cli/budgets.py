"""Budget options as they were typed -> a budget."""

from typing import TYPE_CHECKING

from .lists import number
from .options.budget import BudgetOptions

if TYPE_CHECKING:
    from ..plan.budget import Budget

__all__ = ["budget_of"]


def budget_of(options: BudgetOptions) -> "Budget":
    """The budget.

    Raises:
        OptionError: nothing or something impossible is asked for, or an option would have no effect.
    """
    from ..errors import OptionError
    from ..plan.budget import Budget, parse_bytes, parse_parameters

    shape = {
        "context": options.context,
        "concurrency": None if options.concurrency is None else number("concurrency", options.concurrency),
    }
    for name, value in shape.items():
        if value is not None and options.memory is None and options.decode_speedup is None:
            raise OptionError(f"--{name} has no effect without --memory or --decode-speedup; leave it out.")
    weights, memory = options.weight_bytes, options.memory
    return Budget(
        params=None if options.params is None else parse_parameters(options.params),
        weight_bytes=None if weights is None else parse_bytes("--weight-bytes", weights),
        memory_bytes=None if memory is None else parse_bytes("--memory", memory),
        decode_speedup=options.decode_speedup,
        **{name: value for name, value in shape.items() if value is not None},
    )
