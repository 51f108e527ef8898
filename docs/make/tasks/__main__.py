"""`python -m docs.make.tasks`."""

from .maker import main

main()
