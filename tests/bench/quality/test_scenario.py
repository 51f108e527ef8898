"""Oracle: `measure_perplexity`, which is tested against transformers' own loss; ONNX against transformers."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from dotresize.bench.quality.perplexity import measure_perplexity
from dotresize.bench.quality.perplexity_in_turn import measure_in_turn
from dotresize.bench.quality.sample_answers import PROMPTS
from dotresize.bench.quality.scenario import measure_quality
from dotresize.bench.quality.scorers import open_scorer
from dotresize.bench.record.results import BenchModel, QualityRecord
from dotresize.bench.record.settings import BenchSettings
from dotresize.compress.text.calibration import leading_windows
from dotresize.compress.text.conversation import render_question
from dotresize.compress.weights.source import load_dense
from dotresize.errors import InputError, ModelError, OutputError, TextError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TASKS = Path(__file__).parents[1] / "tasks"
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


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


class Heard:
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int]] = []

    def begin(self, step: str, units: int) -> None:
        self.steps.append((step, units))

    def advance(self, units: int = 1) -> None:
        self.steps.append(("advance", units))


@pytest.fixture(scope="module")
def measured(pico_llama: Path, pico_mistral: Path) -> tuple[QualityRecord, Heard]:
    """Two models that differ, on text and on a task."""
    settings = replace(SETTINGS, tasks=("which_word",), task_directory=str(TASKS), task_limit=4)
    heard = Heard()
    return measure_quality([model_at(pico_llama, "a"), model_at(pico_mistral, "b")], settings, heard), heard


def test_it_is_measure_perplexity_in_a_process_of_its_own(
    measured: tuple[QualityRecord, Heard],
    pico_llama: Path,
    pico_mistral: Path,
    pico_tokenizer: "PreTrainedTokenizerFast",
) -> None:
    windows = leading_windows("builtin", pico_tokenizer, at_most=3, window_tokens=64)
    models = {name: load_dense(str(path)).model for name, path in (("a", pico_llama), ("b", pico_mistral))}
    expected = measure_perplexity(models, windows)
    quality = measured[0]

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


def test_relative_paths_are_found_and_windows_cut_to_the_context_of_the_model(
    pico_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.txt").write_text("now is better than never, although never is often better " * 40)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").symlink_to(pico_llama)
    settings = replace(SETTINGS, text="own.txt", text_window_tokens=512)
    quality = measure_quality([model_at(Path("model"), "a")], settings)
    assert quality.text == "own.txt"
    assert quality.window_tokens == 256


def test_steps_are_told(measured: tuple[QualityRecord, Heard]) -> None:
    steps = measured[1].steps
    assert steps[:7] == [("perplexity", 6), *[("advance", 1)] * 6]
    assert steps[7:] == [("tasks", 2), ("advance", 1), ("advance", 1)]


@torch.no_grad()
def test_answers_are_what_transformers_generates(
    measured: tuple[QualityRecord, Heard], pico_llama: Path
) -> None:
    answers = measured[0].answers
    assert [each.prompt for each in answers] == [*PROMPTS] * 2
    dense = load_dense(str(pico_llama))
    model: Any = dense.model
    for answer in answers[: len(PROMPTS)]:
        text = render_question(answer.prompt, dense.tokenizer)
        ids = dense.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        found = model.generate(ids, do_sample=False, max_new_tokens=40)[0, ids.shape[1] :]
        assert answer.text == str(dense.tokenizer.decode(found, skip_special_tokens=True)).strip()
        assert answer.complete == (found[-1] == dense.tokenizer.eos_token_id)


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


def test_tasks_are_scored_too(measured: tuple[QualityRecord, Heard]) -> None:
    scored = {(score.model, score.task, score.documents) for score in measured[0].tasks}
    assert scored == {("a", "which_word", 4), ("b", "which_word", 4)}


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
def test_onnx_agrees_with_transformers(narrow_smollm2_directory: Path, narrow_smollm2_onnx: Path) -> None:
    """float32 ONNX is verified to 1e-3 in logits elsewhere; perplexities then agree to 1e-3."""
    models = [
        model_at(narrow_smollm2_directory, "torch"),
        model_at(narrow_smollm2_onnx, "onnx", "onnx"),
    ]
    settings = replace(SETTINGS, text_windows=2, text_window_tokens=128)
    onnx = measure_quality(models, settings).models[1]
    assert onnx.perplexity_ratio is not None
    assert onnx.kl_nats_per_token is not None
    assert onnx.perplexity_ratio.value == pytest.approx(1.0, abs=1e-3)
    assert onnx.kl_nats_per_token.value == pytest.approx(0.0, abs=1e-5)
