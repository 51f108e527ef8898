"""`python -m docs.make.fidelity`."""

from .maker import main

main()
