"""`python -m docs.make.speculative`."""

from .maker import main

main()
