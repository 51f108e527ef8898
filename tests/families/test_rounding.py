"""Calibrated rounding of other layouts: fused, by head, without gates, behind post-norms, beside experts."""

import pytest
import torch
from torch.testing import assert_close

from dotresize.compress.layers.rounded_sites import Rounding
from dotresize.compress.maths.rounding import Grid
from dotresize.compress.output.resume import WorkDirectory
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.record.progress import Stopwatch
from dotresize.compress.run import assembled, narrow_into
from dotresize.compress.streams.sink import MemorySink
from dotresize.compress.streams.stream import StreamRoom
from dotresize.compress.weights.source import load_dense

from ..text import TEXT
from .conftest import SaveFamily

CONFIG = CompressConfig(mlp_width=1.0, calibration=TEXT, calibration_windows=4, window_tokens=32)


@pytest.mark.parametrize("family", ["phi3", "gpt_neox", "gemma2", "cohere", "mixtral", "gpt2"])
def test_every_linear_layer_of_a_layer_is_on_the_grid(family: str, save_family: SaveFamily) -> None:
    dense, sink = load_dense(str(save_family(family))), MemorySink(WorkDirectory(None))
    grid = Grid(codes="int8", group_size=16, scale_dtype=torch.bfloat16)
    rounding = Rounding(grid)
    found = narrow_into(
        lambda *_: sink,
        dense,
        CONFIG,
        progress=None,
        work=sink.work,
        watch=Stopwatch(),
        room=StreamRoom(),
        rounding=rounding,
    )
    model = assembled(dense, found, sink.state).model
    layers = model.get_submodule(dense.family.layers)
    linears = {
        f"{dense.family.layers}.{name}": module
        for name, module in layers.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    assert rounding.scales.keys() == linears.keys()
    for name, module in linears.items():
        steps = rounding.scales[name].float().repeat_interleave(16, 1)
        codes = module.weight / steps
        assert_close(codes, codes.round(), rtol=0, atol=1e-3)  # float32 of scale times code
    tokens = torch.arange(2, 42)[None]
    with torch.no_grad():
        before, after = (each(tokens).logits.log_softmax(-1) for each in (dense.model, model))
    # 8 bits of every weight, and fits to 128 tokens; the logits of these picos differ by units
    assert float((before.exp() * (before - after)).sum(-1).mean()) < 0.05
