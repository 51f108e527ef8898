"""A model that is narrowed again and again is looked at once for each text, and the result is the same."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dotresize.compress.first_look import Looks
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.compress.weights.source import load_dense

from ..text import TEXT

SMALL = CompressConfig(
    mlp_width=0.75, calibration=TEXT, calibration_windows=4, window_tokens=64, effort="quick"
)
SURVEY, FISHER = "survey the residual stream", "what the loss feels"


class Steps:
    """Counts what begins."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()

    def begin(self, step: str, units: int) -> None:
        self.begun[step] += 1

    def advance(self, units: int = 1) -> None:
        pass


@pytest.mark.parametrize(
    ("config", "step"),
    [
        (replace(SMALL, mlp_width=None, width=0.75), SURVEY),
        (replace(SMALL, layers=2), SURVEY),
        (replace(SMALL, mlp_method="fisher"), FISHER),
    ],
)
def test_a_text_is_looked_at_once(pico_llama: Path, config: CompressConfig, step: str) -> None:
    dense, looks, steps = load_dense(str(pico_llama)), Looks(), Steps()
    alone = compress(dense, config, progress=steps).model.state_dict()
    assert steps.begun[step] == 1
    for _ in range(2):
        found = compress(dense, config, progress=steps, looks=looks).model.state_dict()
        assert found.keys() == alone.keys()
        assert all(torch.equal(found[name], alone[name]) for name in alone)
    assert steps.begun[step] == 2
    other = (replace(config, calibration_windows=2), replace(config, window_tokens=32, calibration_windows=8))
    for number, another in enumerate(other, start=3):
        compress(dense, another, progress=steps, looks=looks)
        assert steps.begun[step] == number
