"""`python -m docs.make.domains`."""

import typer

from .maker import domains

typer.run(domains)
