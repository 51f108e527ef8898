"""`python -m dotresize.cli` is the `dotresize` command."""

from . import main

main()
