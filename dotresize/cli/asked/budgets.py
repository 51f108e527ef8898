"""Budget options as they were typed -> a budget."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..options.budget import BudgetOptions
from .lists import number

if TYPE_CHECKING:
    from ...compress.record.config import CompressConfig
    from ...plan.budget import Budget
    from ...plan.settings import PlanSettings
    from ...plan.workers import Workers

__all__ = ["budget_of", "has_budget", "settings_of", "workers_of"]

_DEFAULTS = BudgetOptions()
_BUDGETS = ("params", "weight_bytes", "memory", "decode_speedup")


def has_budget(options: BudgetOptions) -> bool:
    """Whether a budget was given.

    Raises:
        OptionError: what belongs to a budget was given without one.
    """
    from ...errors import OptionError

    given = [name for name, value in vars(options).items() if value != getattr(_DEFAULTS, name)]
    if given and not any(name in _BUDGETS for name in given):
        raise OptionError(
            f"--{given[0].replace('_', '-')} has no effect without a budget (--params, --weight-bytes, "
            "--memory or --decode-speedup); leave it out."
        )
    return bool(given)


def settings_of(
    options: BudgetOptions, base: "CompressConfig", evaluation: Sequence[str], **rest: Any
) -> "PlanSettings":
    """How to plan.

    Args:
        options: As they were typed.
        base: Of the compression that is planned; its widths do not count.
        evaluation: Texts to score candidates on.
        rest: Further settings.

    Raises:
        OptionError: nothing or something impossible is asked for, or an option would have no effect.
    """
    from ...plan.quality_floor import parse_floor
    from ...plan.settings import PlanSettings

    return PlanSettings(
        budget=budget_of(options),
        base=base,
        engine=options.engine,  # type: ignore[arg-type]  # PlanSettings checks the choices
        target=options.target,
        tensor_parallel_size=options.tensor_parallel_size,
        evaluation=tuple(evaluation),
        quantize=options.quantize,
        quality_floor=None if options.quality_floor is None else parse_floor(options.quality_floor),
        **rest,
    )


def workers_of(options: BudgetOptions) -> "Workers":
    """Who measures candidates."""
    from ...plan.workers import Workers

    return Workers(jobs=options.jobs, executor=options.executor)


def budget_of(options: BudgetOptions) -> "Budget":
    """The budget.

    Raises:
        OptionError: nothing or something impossible is asked for, or an option would have no effect.
    """
    from ...errors import OptionError
    from ...plan.budget import Budget, parse_bytes, parse_parameters

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
