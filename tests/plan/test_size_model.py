"""Sizes by interpolation against models that were made: on the meta device, and on disk."""

import random
from dataclasses import asdict
from pathlib import Path

import pytest

from dotresize.bench.roofline.model_cost import describe
from dotresize.compress.families.rows import FAMILIES, family_of
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.compress.weights.source import open_model
from dotresize.compress.widths.plan import make_plan
from dotresize.export.checkpoint.write import save
from dotresize.plan.axes import axes_of, config_of
from dotresize.plan.size_model import SizeModel, _sizes, _vector
from tests.families.models.configs import CONFIGS, pico_config

from ..text import TEXT

BASE = CompressConfig(mlp_width=0.5, calibration=TEXT, calibration_windows=2, window_tokens=64)


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_it_gives_what_the_meta_device_gives(name: str) -> None:
    config = pico_config(name)
    family = family_of(config.model_type, FAMILIES[config.model_type].architecture)
    axes = axes_of(config, family)
    model = SizeModel(config, family, axes, BASE)
    generator = random.Random(0)
    legal = 0
    while legal < 4:
        candidate = tuple(generator.choice(values) for values in axes.values)
        if candidate == axes.dense or not axes.is_legal(candidate):
            continue
        plan = make_plan(config, family, config_of(candidate, axes.dense, BASE)).keeping(
            tuple(range(candidate[3]))
        )
        counted = _sizes(_vector(plan.narrow_config, plan.narrow_family))
        assert model.sizes(candidate) == counted, candidate
        legal += 1
    assert model.sizes(axes.dense) == _sizes(_vector(config, family))


def test_parts_are_those_of_the_benchmarks_ceiling(pico_checkpoint: Path, tmp_path: Path) -> None:
    """The benchmark reads them from the headers of what was written."""
    opened = open_model(str(pico_checkpoint))
    axes = axes_of(opened.config, opened.family)
    for number, candidate in enumerate([(48, 64, 1, 2, 0), (64, 48, 2, 3, 0)]):
        config = config_of(candidate, axes.dense, BASE)
        directory = tmp_path / str(number)
        save(compress(str(pico_checkpoint), config), directory)
        written = describe(directory, name="narrow", source="narrow", dtype="float32")
        found = SizeModel(opened.config, opened.family, axes, BASE).sizes(candidate)
        assert found.parameters == written.parameters
        assert 4 * found.cache_elements_per_token == written.kv_bytes_per_token
        for part, cost in written.parts.items():
            mine = asdict(found.parts[part])
            if part != "embedding":  # a tied table counts as the head in both
                assert 4 * mine["loaded_bytes"] == cost.loaded_bytes, part
            assert 4 * mine["decode_bytes"] == cost.decode_bytes, part
            assert mine["flops_per_token"] == cost.flops_per_token, part
