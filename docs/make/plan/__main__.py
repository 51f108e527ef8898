"""`python -m docs.make.plan`."""

from .maker import main

main()
