"""The fidelity page on a pico model: identities, FLOPs against a count by hand, resuming, and its text."""

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from docs.make.fidelity import maker as fidelity
from docs.make.fidelity.compute import LLAMA_70B, LayerShape, break_even, flops_fraction
from docs.make.fidelity.identities import identities
from docs.make.fidelity.page import flat_from, ratio, render, views
from docs.make.fidelity.plots import plots
from docs.make.fidelity.rows import Setting, compressions
from dotresize.compress.record.progress import Silent

from ..text import TEXT

NOT_PROMISED = "narrow, any x: the same (not promised by the theorem)"


@pytest.fixture
def setting(pico_llama: Path) -> Setting:
    text = TEXT
    return Setting(
        model=str(pico_llama),
        calibration=text,
        own="own",
        evaluation={"own": text, "code": "builtin:code", "chat": "builtin:chat"},
        window_tokens=32,
        calibration_windows=4,
        token_counts=(2, 4),
        evaluation_windows=2,
        evaluation_window_tokens=32,
        widths=(0.75, 0.5),
    )


def test_the_theorem_holds_to_rounding_and_its_limit_shows() -> None:
    generator = torch.Generator().manual_seed(0)
    stream = torch.randn(50, 24, dtype=torch.float64, generator=generator)
    plan = torch.rand(24, 16, dtype=torch.float64, generator=generator)
    found = identities(stream, plan)
    # rounding of float64 times the condition of a random 24 x 16 matrix, with room
    assert all(value < 1e-10 for name, value in found.items() if name != NOT_PROMISED)
    assert found[NOT_PROMISED] > 0.01


def test_flops_agree_with_a_count_by_hand() -> None:
    shape = LayerShape(hidden=10, mlp=40, query=10, key_value=5)
    dense = 10 * (10 + 5 + 5 + 10 + 3 * 40)
    assert flops_fraction(shape, 0.5, junctions=0) == pytest.approx(0.5)
    assert flops_fraction(shape, 0.5, junctions=2) == pytest.approx((dense / 2 + 2 * 5 * 5) / dense)
    for each in (shape, LLAMA_70B):
        assert flops_fraction(each, break_even(each, junctions=2), junctions=2) == pytest.approx(1.0)
    assert break_even(shape, junctions=0) == 1.0


def test_gains_are_flat_from_where_none_comes_after() -> None:
    assert flat_from([(2, 0.01), (4, 0.03), (8, 0.01), (16, -0.5)]) == 8
    assert flat_from([(2, 0.01), (4, 0.03)]) is None
    assert flat_from([(2, 0.001)]) == 2


def test_an_interrupted_run_goes_on_and_the_page_names_what_is_missing(
    setting: Setting, tmp_path: Path
) -> None:
    file = tmp_path / "FIDELITY.json"
    first = fidelity.run(setting, file, Silent(), limit=2, kept=tmp_path)
    assert len(first["rows"]) == 2
    page = render(first)
    assert "Not measured yet: " in page
    assert "calibration tokens: not measured yet." in page

    kept = json.loads(file.read_text(encoding="utf-8"))
    label = next(iter(kept["rows"]))
    kept["rows"][label]["seconds"] = -1.0  # recognisable: it must not be measured again
    file.write_text(json.dumps(kept), encoding="utf-8")
    whole = fidelity.run(setting, file, Silent(), kept=tmp_path)
    assert set(whole["rows"]) == set(compressions(setting))
    assert whole["rows"][label]["seconds"] == -1.0
    page = render(whole)
    assert "Not measured yet" not in page
    assert page.count("\n## ") == 6
    assert re.search(r"Largest over smallest, lambda above 0: [\d.]+ times on own, ", page)
    assert "are code and chat, by geometric mean and worst." in page

    label = next(label for label, row in whole["rows"].items() if "failed" not in row)
    measured = [
        text["models"][1]["perplexity_ratio"]["value"] for text in whole["rows"][label]["quality"]["texts"]
    ]
    own, mean, worst = (ratio(whole, label, view) for view in views(whole))
    assert own == measured[0]
    assert mean == pytest.approx((measured[1] * measured[2]) ** 0.5)
    assert worst == max(measured[1:])

    drawn = plots(whole)
    assert drawn == plots(whole)
    assert set(drawn) == {"regularisation", "tokens", "compute"}
    for picture in drawn.values():
        ElementTree.fromstring(picture)

    other = fidelity.run(replace(setting, seed=7), file, Silent(), limit=0, kept=tmp_path)
    assert other["rows"] == {}
