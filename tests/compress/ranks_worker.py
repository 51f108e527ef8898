"""One process of several: `torchrun ranks_worker.py LAYER ARGUMENT...` is `dotresize ARGUMENT...`.

The second process kills itself before it narrows layer LAYER; none does where that is "none".
"""

import os
import signal
import sys
from typing import Any

import pytest

from dotresize.cli import main
from dotresize.compress.layers.layer import narrow_one_layer


def die_before(layer: str) -> None:
    """Let the second process end as a lost one does."""

    def narrow_or_die(job: Any, dense_layer: Any, index: int, *rest: Any) -> Any:
        if os.environ["RANK"] == "1" and str(index) == layer:
            os.kill(os.getpid(), signal.SIGKILL)
        return narrow_one_layer(job, dense_layer, index, *rest)

    pytest.MonkeyPatch().setattr("dotresize.compress.layers.narrow.narrow_one_layer", narrow_or_die)


if __name__ == "__main__":
    die_before(sys.argv.pop(1))
    main()
