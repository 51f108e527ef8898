"""Pushing an output to the hub: checked before anything is computed, done when all is on the disk."""

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import OptionError
from ..options.hub import HubOptions
from ..printed.output import note_console

if TYPE_CHECKING:
    from ...export.checkpoint.hub import HubTarget

__all__ = ["checked_target", "pushed"]


def checked_target(hub: HubOptions) -> "HubTarget | None":
    """Where to push, or None; what cannot be pushed to is refused."""
    if hub.push_to_hub is None:
        if hub.public:
            raise OptionError("--public has no effect without --push-to-hub; leave it out.")
        return None
    from ...export.checkpoint.hub import check_target

    return check_target(hub.push_to_hub, public=hub.public)


def pushed(output: Path, target: "HubTarget | None") -> str | None:
    """Push an output; returns its address."""
    if target is None:
        return None
    from ...export.checkpoint.hub import push

    note_console().print(f"pushing to {target.name}", markup=False)
    url = push(output, target)
    note_console().print(f"pushed: {url}", markup=False, soft_wrap=True)
    return url
