"""Makes this repository's own pages from measurements; not part of the installed package."""

from dotresize.cli.printed.output import no_bars

no_bars()  # here, because the makers import torch before anything of theirs runs
