"""Several texts: a row each, what each is to the calibration, and their mean and worst."""

import math
from pathlib import Path

import pytest

from dotresize.bench.quality.perplexity import ModelPerplexity, measure_perplexity
from dotresize.bench.quality.text_quality import measure_texts, quality_record, texts_of, windows_of_texts
from dotresize.bench.record.results import Estimate
from dotresize.compress.text.calibration import Windows, draw_windows, leading_windows
from dotresize.compress.weights.source import DenseModel, load_dense


@pytest.fixture
def dense(pico_llama: Path) -> DenseModel:
    return load_dense(str(pico_llama))


def _measured(
    windows: Windows, ratio: float, error: float | None = 0.01
) -> tuple[Windows, list[ModelPerplexity]]:
    perplexity = Estimate(value=10.0, standard_error=1.0)
    return windows, [
        ModelPerplexity(
            name="dense", tokens=9, perplexity=perplexity, perplexity_ratio=None, kl_nats_per_token=None
        ),
        ModelPerplexity(
            name="narrow",
            tokens=9,
            perplexity=perplexity,
            perplexity_ratio=Estimate(value=ratio, standard_error=error),
            kl_nats_per_token=perplexity,
        ),
    ]


def _text(tmp_path: Path, name: str, dense: DenseModel) -> Windows:
    (tmp_path / name).write_text(f"Words of {name}, more words of it, and then some. " * 4)
    return leading_windows(str(tmp_path / name), dense.tokenizer, window_tokens=16, at_most=2)


def test_each_text_is_measured_as_it_is_alone(dense: DenseModel, tmp_path: Path) -> None:
    alone = _text(tmp_path, "own.txt", dense)
    models = {"a": dense.model, "b": dense.model}
    specs = [str(tmp_path / "own.txt"), "builtin"]
    record = measure_texts(models, windows_of_texts(specs, dense.tokenizer, window_tokens=16, at_most=2))
    assert [text["text"] for text in record["texts"]] == [
        "own.txt",
        "builtin:documentation",
        "builtin:code",
        "builtin:chat",
    ]
    expected = measure_perplexity(models, alone)[1]
    assert record["texts"][0]["models"][1]["perplexity"]["value"] == expected.perplexity.value
    assert record["texts"][0]["text_sha256"] == alone.record.sha256
    (summary,) = record["summary"]
    assert (summary["name"], summary["texts"], summary["geometric_mean"]["value"]) == ("b", 4, 1.0)
    assert record["warnings"] == []


def test_mean_and_worst_are_those_of_the_ratios(dense: DenseModel, tmp_path: Path) -> None:
    rows = [
        _measured(_text(tmp_path, "a.txt", dense), 1.2),
        _measured(_text(tmp_path, "b.txt", dense), 1.8, 0.02),
    ]
    (summary,) = quality_record(rows, {})["summary"]
    mean = math.sqrt(1.2 * 1.8)
    assert summary["geometric_mean"]["value"] == pytest.approx(mean)
    # delta method by hand: half of the root of the squared relative errors
    error = mean / 2 * math.sqrt((0.01 / 1.2) ** 2 + (0.02 / 1.8) ** 2)
    assert summary["geometric_mean"]["standard_error"] == pytest.approx(error)
    assert (summary["worst"]["value"], summary["worst_text"]) == (1.8, "b.txt")
    unknown = quality_record([rows[0], _measured(rows[1][0], 1.8, None)], {})["summary"][0]
    assert unknown["geometric_mean"]["standard_error"] is None
    assert quality_record(rows[:1], {})["summary"] == []


def test_texts_are_marked_and_those_of_another_kind_summed_up_alone(
    dense: DenseModel, tmp_path: Path
) -> None:
    texts = {
        name: _text(tmp_path, name, dense)
        for name in ("x.calibration.txt", "x.evaluation.txt", "y.evaluation.txt")
    }
    drawn = draw_windows(
        str(tmp_path / "x.calibration.txt"), dense.tokenizer, windows=1, window_tokens=16, seed=0
    )
    rows = [_measured(text, ratio) for text, ratio in zip(texts.values(), (1.1, 1.2, 2.0), strict=True)]
    record = quality_record(rows, {"narrow": drawn.record})
    marks = [text["models"][1]["calibrated_on"] for text in record["texts"]]
    assert marks == ["text", "kind", None]
    assert [text["models"][0]["calibrated_on"] for text in record["texts"]] == [None] * 3
    everything, foreign = record["summary"]
    assert (everything["scope"], everything["texts"]) == ("all texts", 3)
    assert (foreign["scope"], foreign["texts"], foreign["worst"]["value"]) == ("not calibrated on", 1, 2.0)
    (warning,) = record["warnings"]
    assert "narrow loses much more on y.evaluation.txt (ratio 2.00) than on text like" in warning


@pytest.mark.parametrize(("foreign", "warns"), [(1.25, False), (1.5, True)])
def test_a_warning_needs_twice_the_loss(
    dense: DenseModel, tmp_path: Path, foreign: float, warns: bool
) -> None:
    own, other = _text(tmp_path, "x.evaluation.txt", dense), _text(tmp_path, "y.txt", dense)
    (tmp_path / "x.calibration.txt").write_text("Calibrated on these words. " * 20)
    drawn = draw_windows(
        str(tmp_path / "x.calibration.txt"), dense.tokenizer, windows=1, window_tokens=16, seed=0
    )
    rows = [_measured(own, 1.2), _measured(other, foreign)]  # 1.2 squared is 1.44
    assert bool(quality_record(rows, {"narrow": drawn.record})["warnings"]) == warns
    assert quality_record(rows, {})["warnings"] == []  # nothing is known of its calibration


def test_an_older_record_holds_one_text() -> None:
    assert texts_of({"text": "builtin", "models": []}) == [{"text": "builtin", "models": []}]
