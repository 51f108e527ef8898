"""Where the command line prints: people read tables, programs read the last line of stdout."""

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["emit", "error_console", "quiet_libraries"]


def error_console() -> "Console":
    """A console on stderr: progress, warnings and errors."""
    from rich.console import Console

    return Console(stderr=True)


def emit(data: dict[str, Any], *renderables: "RenderableType", as_json: bool) -> None:
    """Show a result: with `as_json`, tables go to stderr and one JSON object ends stdout."""
    from rich.console import Console

    console = error_console() if as_json else Console()
    for renderable in renderables:
        console.print(renderable)
    if as_json:
        sys.stdout.write(json.dumps(data, sort_keys=True) + "\n")
        sys.stdout.flush()


def quiet_libraries() -> None:
    """Keep the progress bars and hints of transformers off the screen; ours say what matters."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported; GGUF loading has no other switch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
