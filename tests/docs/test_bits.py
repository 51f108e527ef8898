"""The page of width and bits on a pico: rows that are kept, the front, the share of bytes, its text."""

import importlib.util
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from docs.make.bits import maker as bits
from docs.make.bits.page import bytes_of, front, render, share_where_width_helps
from docs.make.bits.plot import bits_svg
from docs.make.shared.evaluation import Fitted
from docs.make.shared.measured import mean_kl
from dotresize.bench.quality.text_quality import measure_texts
from dotresize.compress.record.progress import Silent
from dotresize.compress.weights.source import load_dense

from ..text import TEXT


def row(width: float, size: int, loss: float) -> dict[str, Any]:
    models = [{}, {"kl_nats_per_token": {"value": loss}}]
    return {"width": width, "bytes": size, "quality": {"texts": [{"models": models}]}}


ROWS = {
    "original, 16 bits": row(1.0, 100, 0.0),
    "original, 4 bits": row(1.0, 30, 0.4),
    "narrow, 16 bits": row(0.5, 60, 0.2),
    "narrow, 4 bits": row(0.5, 20, 0.9),
    "narrow, rounded badly": row(0.5, 70, 0.5),
}


def test_the_front_is_what_nothing_beats_in_both() -> None:
    assert front(bytes_of(ROWS), ROWS) == set(ROWS) - {"narrow, rounded badly"}


def test_rows_without_a_cost_do_not_compete() -> None:
    seconds = {"original, 16 bits": 2.0, "narrow, rounded badly": 1.0}
    assert front(seconds, ROWS) == set(seconds)
    assert share_where_width_helps(seconds, ROWS) == 1.0  # nothing else is that fast


def test_width_helps_where_the_best_row_that_fits_is_narrow() -> None:
    # 20 to 30: nothing else fits; 30 to 60: 4 bits alone; 60 to 100: the narrow floats
    assert share_where_width_helps(bytes_of(ROWS), ROWS) == pytest.approx((10 + 40) / 80)
    assert share_where_width_helps({"original, 4 bits": 30}, ROWS) is None


def test_a_part_of_the_rows_is_selected_by_name() -> None:
    assert len(bits.labels()) == len(bits.WIDTHS) * len(bits.BITS)
    assert list(bits.labels(("original, w4a16", "0.6, bfloat16"))) == [
        "original, w4a16 nearest", "original, w4a16 calibrated", "width 0.6, bfloat16",
    ]  # fmt: skip


def setting_of(model: Path) -> Fitted:
    return Fitted(
        model=str(model),
        calibration=(TEXT,),
        calibration_windows=4,
        window_tokens=32,
        evaluation={"own": TEXT, "manual": "builtin:documentation"},
        evaluation_windows=1,
        evaluation_window_tokens=32,
    )


def test_rows_are_measured_once_and_make_a_page(pico_llama: Path, tmp_path: Path) -> None:
    pytest.importorskip("compressed_tensors")
    setting = setting_of(pico_llama)
    file, builds = tmp_path / "page.json", tmp_path / "builds"
    only = ("original, w4a16 nearest",)
    results = bits.run(setting, file, builds, Silent(), only=only, kept=tmp_path / "kept")
    assert list(results["rows"]) == list(only)
    assert mean_kl(results["rows"][only[0]]["quality"]) > 0
    before = sorted(path.stat().st_mtime_ns for path in builds.rglob("*"))
    assert bits.run(setting, file, builds, Silent(), only=only, kept=tmp_path / "kept") == results
    assert sorted(path.stat().st_mtime_ns for path in builds.rglob("*")) == before
    page = render(results, "page.svg")
    assert "| original, w4a16 nearest |" in page
    assert "not enough rows" in page
    ElementTree.fromstring(bits_svg(results))


def test_an_onnx_row_is_scored_by_onnx_runtime(pico_llama: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_genai")
    only = ("original, bfloat16", "original, onnx fp32")
    setting = setting_of(pico_llama)
    results = bits.run(
        setting, tmp_path / "page.json", tmp_path / "builds", Silent(), only=only, kept=tmp_path / "kept"
    )
    assert list(results["rows"]) == list(only)
    floats = results["rows"]["original, onnx fp32"]
    assert mean_kl(floats["quality"]) < 1e-8  # the same float32 weights; only the order of sums differs
    assert floats["bytes"] > results["rows"]["original, bfloat16"]["bytes"]
    dense = load_dense(str(pico_llama))
    windows = setting.windows(dense.tokenizer)
    expected = measure_texts({"dense": dense.model, "narrow": dense.model}, windows)
    for text, own in zip(floats["quality"]["texts"], expected["texts"], strict=True):
        assert text["models"][0] == own["models"][0]  # from the file what the model gives
        assert text["models"][1]["perplexity"]["value"] == pytest.approx(
            own["models"][1]["perplexity"]["value"], rel=1e-5
        )


@pytest.fixture(scope="module")
def pico_of_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tied; with the token that transformers adds to a tokenizer from GGUF, whose model has no row for it."""
    from transformers import LlamaConfig

    from tests.picos import SHAPE, train_tokenizer, write_pico

    tokenizer = train_tokenizer()
    tokenizer.add_special_tokens({"unk_token": "<|endoftext|>"})
    directory = tmp_path_factory.mktemp("pico") / "of-gguf"
    shape = {**SHAPE, "vocab_size": len(tokenizer)}
    write_pico(LlamaConfig(**shape, tie_word_embeddings=True), tokenizer, directory)
    return directory


def test_a_gguf_row_is_a_file_read_back_and_has_no_speed(pico_of_gguf: Path, tmp_path: Path) -> None:
    only = ("original, bfloat16", "original, gguf q8_0")
    arguments = (setting_of(pico_of_gguf), tmp_path / "page.json", tmp_path / "builds", Silent())
    results = bits.run(*arguments, only=only, kept=tmp_path / "kept")
    assert (list(results["rows"]), results["failed"]) == (list(only), {})
    row = results["rows"]["original, gguf q8_0"]
    file = tmp_path / "builds" / row["path"]
    assert (file.name, file.stat().st_size) == ("original-gguf-q8_0.gguf", row["bytes"])
    assert 0 < mean_kl(row["quality"]) < 0.05  # eight bits
    before = file.stat().st_mtime_ns
    results = bits.run(*arguments, only=only, speed=True, kept=tmp_path / "kept")
    assert (file.stat().st_mtime_ns, results["speed"]) == (before, {})
    page = render(results, "page.svg")
    assert "| original, gguf q8_0 |" in page
    assert "llama.cpp, bytes: not enough rows" in page
    assert "llama.cpp is not timed" in page


def test_k_quants_are_rows_of_their_own_calibrated_and_not(pico_of_gguf: Path, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="llama.cpp makes k-quants, and llama-cpp-python is not installed")
    only = ("original, gguf q4_k_m",)
    arguments = (setting_of(pico_of_gguf), tmp_path / "page.json", tmp_path / "builds", Silent())
    results = bits.run(*arguments, only=only, kept=tmp_path / "kept")
    assert (set(results["rows"]), results["failed"]) == (set(bits.labels(only)), {})
    assert len(results["rows"]) == 2
    plain, calibrated = results["rows"].values()
    assert plain["bytes"] == calibrated["bytes"]  # the same types
    assert mean_kl(plain["quality"]) != mean_kl(calibrated["quality"])


def test_without_llama_cpp_a_k_quant_is_a_row_that_failed(pico_llama: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("llama_cpp") is not None:
        pytest.skip("llama-cpp-python is installed")
    arguments = (setting_of(pico_llama), tmp_path / "page.json", tmp_path / "builds", Silent())
    results = bits.run(*arguments, only=("original, gguf q4_k_m cal",), kept=tmp_path / "kept")
    assert results["rows"] == {}
    assert "llama-cpp-python is not installed" in results["failed"]["original, gguf q4_k_m calibrated"]


def test_a_row_that_fails_is_kept_with_its_reason_and_tried_again(pico_llama: Path, tmp_path: Path) -> None:
    pytest.importorskip("compressed_tensors")
    file, builds, only = (
        tmp_path / "page.json",
        tmp_path / "builds",
        ("original, w8a8 nearest", "original, bfl"),
    )
    taken = builds / "original-w8a8-nearest"
    taken.mkdir(parents=True)
    (taken / "notes.txt").write_text("somebody's")
    setting = setting_of(pico_llama)
    results = bits.run(setting, file, builds, Silent(), only=only, kept=tmp_path / "kept")
    assert list(results["rows"]) == ["original, bfloat16"]
    reason = results["failed"]["original, w8a8 nearest"]
    assert "original-w8a8-nearest" in reason
    assert json.loads(file.read_text())["failed"] == results["failed"]
    assert f"* original, w8a8 nearest: {reason}" in render(results, "page.svg")
    (taken / "notes.txt").unlink()
    taken.rmdir()
    again = bits.run(setting, file, builds, Silent(), only=only, kept=tmp_path / "kept")
    assert (set(again["rows"]), again["failed"]) == (set(bits.labels(only)), {})


def test_speed_goes_on_from_its_report(pico_llama: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_genai")
    only = ("original, onnx fp32", "original, onnx int8")
    arguments = (setting_of(pico_llama), tmp_path / "page.json", tmp_path / "builds", Silent())
    results = bits.run(*arguments, only=only, speed=True, kept=tmp_path / "kept")
    assert (set(results["speed"]), results["failed"]) == (set(only), {})
    assert all(len(runs) >= 3 and min(runs) > 0 for runs in results["speed"].values())
    again = bits.run(*arguments, only=only, speed=True, kept=tmp_path / "kept")
    assert again["speed"] == results["speed"]  # resumed: nothing was measured a second time
