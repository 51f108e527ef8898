"""`python -m docs.make.bits`."""

from .maker import main

main()
