"""A budget -> new widths, and what a compression will cost, before a weight is loaded.

The package itself is callable, as `dotresize.compress` is; see `dotresize.plan.planner.plan_widths`.
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..compress.record.progress import Progress
    from .record import PlanRecord
    from .settings import PlanSettings


class CallablePackage(ModuleType):
    """A folder that is also a function."""

    def __call__(
        self, model: str | Path, settings: "PlanSettings", *, progress: "Progress | None" = None
    ) -> "PlanRecord":
        """Choose widths for a budget: `.chosen.widths` of what comes back says which.

        Args:
            model: as `dotresize.compress` takes it.
            settings: budget, engine, effort.
            progress: told about every step; silent by default.

        Raises:
            WidthError: the budget is out of reach.
            InputError: the model, a text or an option cannot be used.
        """
        from .planner import plan_widths

        return plan_widths(str(model), settings, progress=progress)[0]


sys.modules[__name__].__class__ = CallablePackage
