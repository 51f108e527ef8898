"""Oracle: the model itself, to the last digit."""

from pathlib import Path

import torch

from dotresize.bench.quality.kept_states import KeptStates
from dotresize.bench.quality.perplexity import log_probabilities_of
from dotresize.compress.weights.source import load_dense


def test_a_window_passes_the_layers_once(pico_llama: Path) -> None:
    model = load_dense(str(pico_llama)).model
    windows = [torch.arange(20), torch.arange(5, 25), torch.arange(10)]
    with torch.no_grad():
        expected = [log_probabilities_of(model, window) for window in windows]
    passes: list[int] = []
    model.base_model.register_forward_hook(lambda *_: passes.append(1))
    kept = KeptStates(model)
    for _ in range(2):
        found = [kept(window) for window in windows]
        assert all(map(torch.equal, found, expected))
        assert len(passes) == len(windows)
