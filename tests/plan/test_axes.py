"""Which widths are planned: the architecture's grid, the kernels' and the engines'."""

from pathlib import Path

import pytest

from dotresize.compress.families.rows import FAMILIES, family_of
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.weights.source import open_model
from dotresize.errors import OptionError
from dotresize.plan.axes import AXES, Axes, axes_of, config_of
from dotresize.plan.budget import Budget
from dotresize.plan.settings import PlanSettings
from tests.families.models.configs import pico_config

BASE = CompressConfig(mlp_width=0.5, seed=7)


def family_axes(name: str, tensor_parallel_size: int = 1) -> Axes:
    config = pico_config(name)
    family = family_of(config.model_type, FAMILIES[config.model_type].architecture)
    return axes_of(config, family, tensor_parallel_size)


def test_the_values_of_a_llama(pico_llama: Path) -> None:
    opened = open_model(str(pico_llama))
    axes = axes_of(opened.config, opened.family)
    assert axes.dense == (64, 96, 2, 3, 0)
    hidden, mlp, groups, layers, experts = axes.values
    assert hidden == (64, 56, 48, 40, 32, 24, 16)
    assert mlp == (96, 88, 80, 72, 64, 56, 48, 40, 32, 24)
    assert (groups, layers, experts) == ((2, 1), (3, 2, 1), (0,))
    assert axes.moving == (0, 1, 2, 3)
    assert not axes.is_legal((54, 96, 2, 3, 0))  # four heads do not divide 54


def test_groups_of_weights_divide_the_widths_of_a_plan(pico_llama: Path) -> None:
    opened = open_model(str(pico_llama))
    hidden, mlp = axes_of(opened.config, opened.family, grouped=True).values[:2]
    assert (hidden, mlp) == ((64, 32), (96, 64, 32))  # too narrow for the coarser groups
    opened.config.intermediate_size = 1536
    mlp = axes_of(opened.config, opened.family, grouped=True).values[1]
    assert mlp == tuple(range(1536, 383, -128))
    opened.config.hidden_size, opened.config.intermediate_size = 20, 24  # nothing narrower is a multiple
    plain = axes_of(opened.config, opened.family)
    assert axes_of(opened.config, opened.family, grouped=True).values == plain.values


def test_only_grouped_weights_ask_for_other_plans() -> None:
    with pytest.raises(OptionError, match="--quantize is 'w8a8'; a plan takes w4a16 or w8a16"):
        PlanSettings(budget=Budget(params=0.75), base=BASE, quantize="w8a8")


def test_engines_deal_heads_and_neurons_out_evenly(pico_llama: Path) -> None:
    opened = open_model(str(pico_llama))
    mlp, groups = axes_of(opened.config, opened.family, 4).values[1:3]
    assert all(width % 4 == 0 for width in mlp)
    assert groups == (2,)  # one group of two heads cannot be dealt out to four GPUs
    with pytest.raises(OptionError, match="can be split over 5 GPUs"):
        axes_of(opened.config, opened.family, 5)
    with pytest.raises(OptionError, match="--tensor-parallel-size is 0; it must be at least 1"):
        axes_of(opened.config, opened.family, 0)


def test_what_a_family_cannot_narrow_does_not_move() -> None:
    axes = family_axes("gpt2")
    fixed = {AXES[axis] for axis in range(len(AXES)) if axis not in axes.moving}
    assert {"experts", "hidden"} & fixed


def test_enough_experts_stay_for_a_token() -> None:
    config = pico_config("qwen3_moe")
    experts = family_axes("qwen3_moe").values[AXES.index("experts")]
    assert experts[0] == config.num_experts
    assert experts[-1] >= config.num_experts_per_tok


def test_only_what_changes_becomes_an_option() -> None:
    config = config_of((48, 96, 1, 3, 0), (64, 96, 2, 3, 0), BASE)
    assert (config.hidden_size, config.kv_groups, config.seed) == (48, 1, 7)
    assert (config.width, config.mlp_width, config.intermediate_size, config.layers) == (None,) * 4
