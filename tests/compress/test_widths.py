"""Which widths are taken, which are rounded, and which are refused with a reason."""

from dataclasses import replace
from pathlib import Path

import pytest

from dotresize.compress.families.rows import FAMILIES
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.compress.widths.plan import make_plan
from dotresize.errors import WidthError

from .test_run import SMALL


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 50}, r"hidden_size 50 .* multiple of the 4 attention heads .* legal: 48 and 52"),
        ({"hidden_size": 0}, r"hidden_size 0 .* must be positive. Nearest legal: 4"),
        ({"hidden_size": -8}, r"hidden_size -8 .* must be positive"),
        ({"hidden_size": 9999}, r"hidden_size 9999 .* the model has 64. Nearest legal: 64"),
        ({"intermediate_size": 97}, r"intermediate_size 97 .* the model has 96"),
    ],
)
def test_illegal_widths_are_refused(pico_llama: Path, changes: dict[str, int], message: str) -> None:
    with pytest.raises(WidthError, match=message):
        compress(str(pico_llama), replace(SMALL, width=None, mlp_width=None, **changes))  # type: ignore[arg-type]


def test_mistral_takes_any_hidden_size(pico_mistral: Path) -> None:
    config = replace(SMALL, width=None, hidden_size=51)
    assert compress(str(pico_mistral), config).model.config.hidden_size == 51


def test_rounding_is_told(pico_llama: Path) -> None:
    config = replace(SMALL, width=0.8)
    notes = compress(str(pico_llama), config).report.notes
    assert "hidden_size 0.8 of 64 = 51.2 was rounded to 52, a multiple of 4" in notes
    assert any("52 is not a multiple of 8" in note and "48 or 56" in note for note in notes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"mlp_width": 0.99},
            "0.99 of 96 = 95.0 is rounded to 96, a multiple of 8, which changes nothing.*is 88",
        ),
        ({"width": 0.99}, "hidden_size 0.99 of 64 = 63.4 is rounded to 64.*which changes nothing"),
    ],
)
def test_a_fraction_that_changes_nothing_is_refused(
    pico_llama: Path, changes: dict[str, float], message: str
) -> None:
    with pytest.raises(WidthError, match=message):
        compress(str(pico_llama), replace(SMALL, **{"width": None, "mlp_width": None, **changes}))  # type: ignore[arg-type]


def test_hidden_fractions_land_on_the_kernels_grid_where_it_is_near() -> None:
    """Mistral 7B: 0.8 of 4096 is 3276.8; 3277 would take every kernel's slow path."""
    from transformers import LlamaConfig, MistralConfig

    mistral = MistralConfig(num_hidden_layers=1)
    assert make_plan(mistral, FAMILIES["mistral"], CompressConfig(width=0.8)).narrow.hidden_size == 3280
    smollm = LlamaConfig(hidden_size=576, num_attention_heads=9, num_key_value_heads=3, num_hidden_layers=1)
    # multiples of 72 are far from 460.8, so the nearest multiple of the heads it is
    assert make_plan(smollm, FAMILIES["llama"], CompressConfig(width=0.8)).narrow.hidden_size == 459
