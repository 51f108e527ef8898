"""Oracle: `measure_perplexity`, which is tested against transformers' own loss; ONNX against transformers."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from dotresize.bench.perplexity import measure_perplexity
from dotresize.bench.perplexity_in_turn import measure_in_turn
from dotresize.bench.quality_scenario import measure_quality
from dotresize.bench.results import BenchModel
from dotresize.bench.scorers import open_scorer
from dotresize.bench.settings import BenchSettings
from dotresize.compress.calibration import leading_windows
from dotresize.compress.source import load_dense
from dotresize.errors import InputError, ModelError, OutputError, TextError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TASKS = Path(__file__).parent / "tasks"
SETTINGS = BenchSettings(
    engine="transformers", device="cpu", dtype="float32", text_windows=3, text_window_tokens=64
)


def model_at(directory: Path, name: str, model_format: str = "huggingface") -> BenchModel:
    """Only name, path, format and vocabulary matter here."""
    return BenchModel(
        name=name,
        source=str(directory),
        path=str(directory),
        format=model_format,
        precision="float32",
        sha256="",
        tokenizer_sha256="same",
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        vocab_size=384,
        parameters=0,
        weight_bytes=0,
        kv_bytes_per_token=0,
        parts={},
    )


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_it_is_measure_perplexity_in_a_process_of_its_own(
    pico_llama: Path, pico_mistral: Path, pico_tokenizer: "PreTrainedTokenizerFast"
) -> None:
    windows = leading_windows("builtin", pico_tokenizer, at_most=3, window_tokens=64)
    models = {name: load_dense(str(path)).model for name, path in (("a", pico_llama), ("b", pico_mistral))}
    expected = measure_perplexity(models, windows)

    quality = measure_quality([model_at(pico_llama, "a"), model_at(pico_mistral, "b")], SETTINGS)

    assert (quality.text, quality.windows, quality.window_tokens) == ("builtin", 3, 64)
    assert [each.model for each in quality.models] == ["a", "b"]
    assert [each.tokens for each in quality.models] == [3 * 63, 3 * 63]
    assert quality.models[0].perplexity_ratio is None
    for field in ("perplexity", "perplexity_ratio", "kl_nats_per_token"):
        found, same = getattr(quality.models[1], field), getattr(expected[1], field)
        assert found.value == pytest.approx(same.value, rel=1e-4)  # other thread counts, other sums
        assert found.standard_error == pytest.approx(same.standard_error, rel=1e-2)


def test_a_model_against_itself_shows_no_difference(pico_llama: Path) -> None:
    again = measure_quality([model_at(pico_llama, "a"), model_at(pico_llama, "b")], SETTINGS).models[1]
    assert again.perplexity_ratio is not None
    assert again.kl_nats_per_token is not None
    assert (again.perplexity_ratio.value, again.perplexity_ratio.standard_error) == (1.0, 0.0)
    assert again.kl_nats_per_token.value == 0.0


def test_windows_are_cut_to_the_context_of_the_model(pico_llama: Path) -> None:
    quality = measure_quality([model_at(pico_llama, "a")], replace(SETTINGS, text_window_tokens=512))
    assert quality.window_tokens == 256


def test_relative_paths_are_found_from_any_working_directory(
    pico_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.txt").write_text("now is better than never, although never is often better " * 40)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").symlink_to(pico_llama)
    quality = measure_quality([model_at(Path("model"), "a")], replace(SETTINGS, text="own.txt"))
    assert quality.text == "own.txt"


def test_steps_are_told(pico_llama: Path) -> None:
    steps: list[tuple[str, int]] = []

    class Heard:
        def begin(self, step: str, units: int) -> None:
            steps.append((step, units))

        def advance(self, units: int = 1) -> None:
            steps.append(("advance", units))

    measure_quality([model_at(pico_llama, "a")], SETTINGS, Heard())
    assert steps == [("perplexity", 3), *[("advance", 1)] * 3]


def test_other_vocabularies_are_refused(pico_llama: Path) -> None:
    other = replace(model_at(pico_llama, "b"), tokenizer_sha256="another")
    with pytest.raises(InputError, match="b has another vocabulary than a"):
        measure_quality([model_at(pico_llama, "a"), other], SETTINGS)


def test_errors_of_the_child_arrive_as_themselves(pico_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("too short")
    with pytest.raises(TextError, match="less than one window"):
        measure_quality([model_at(pico_llama, "a")], replace(SETTINGS, text=str(tmp_path / "short.txt")))
    with pytest.raises(ModelError, match="config.json cannot be read"):
        measure_quality([model_at(tmp_path / "nothing", "a")], SETTINGS)


def test_tasks_are_scored_too(pico_llama: Path) -> None:
    settings = replace(SETTINGS, tasks=("which_word",), task_directory=str(TASKS), task_limit=4)
    quality = measure_quality([model_at(pico_llama, "a")], settings)
    assert {(score.model, score.task, score.documents) for score in quality.tasks} == {("a", "which_word", 4)}


def test_too_small_a_disk_is_said_before_it_is_filled(
    pico_llama: Path, pico_tokenizer: "PreTrainedTokenizerFast", tmp_path: Path
) -> None:
    """A thousand million windows, one in memory: their log-probabilities are 97 TB."""
    windows = leading_windows("builtin", pico_tokenizer, at_most=1, window_tokens=64)
    many = windows._replace(token_ids=windows.token_ids.expand(10**9, -1))
    scorers = {
        name: partial(open_scorer, pico_llama, "huggingface", device=torch.device("cpu")) for name in "ab"
    }
    with pytest.raises(OutputError, match=r"needs 96768\.0 GB in .* set TMPDIR to a larger disk"):
        measure_in_turn(scorers, many, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_onnx_agrees_with_transformers(narrow_smollm2_directory: Path, tmp_path: Path) -> None:
    """float32 ONNX is verified to 1e-3 in logits elsewhere; perplexities then agree to 1e-3."""
    from dotresize.export.to_onnx import OnnxConfig, export_onnx

    export_onnx(narrow_smollm2_directory, tmp_path / "onnx", OnnxConfig(precision="fp32"))
    models = [
        model_at(narrow_smollm2_directory, "torch"),
        model_at(tmp_path / "onnx", "onnx", "onnx"),
    ]
    settings = replace(SETTINGS, text_windows=2, text_window_tokens=128)
    onnx = measure_quality(models, settings).models[1]
    assert onnx.perplexity_ratio is not None
    assert onnx.kl_nats_per_token is not None
    assert onnx.perplexity_ratio.value == pytest.approx(1.0, abs=1e-3)
    assert onnx.kl_nats_per_token.value == pytest.approx(0.0, abs=1e-5)
