"""`dotresize ARGUMENTS` in this process, through the same `main` that the installed command runs."""

import sys
from pathlib import Path

__all__ = ["call", "run"]

UNEXPECTED = 70  # exit code of the command line's last resort


def run(*arguments: "str | Path") -> int:
    """Exit code of `dotresize ARGUMENTS...`; whatever escapes the command line escapes here too."""
    from dotresize.cli import main

    before, sys.argv = sys.argv, ["dotresize", *map(str, arguments)]
    try:
        main()
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    finally:
        sys.argv = before
    return 0


def call(*arguments: "str | Path") -> None:
    """Run a command that must succeed."""
    code = run(*arguments)
    assert code == 0, f"dotresize {' '.join(map(str, arguments))} ended with {code}"
