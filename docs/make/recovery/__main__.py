"""`python -m docs.make.recovery`."""

from .maker import main

main()
