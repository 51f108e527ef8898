"""A narrow model as the draft of its original: the arithmetic, and real runs on pico models."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from dotresize.bench.judge.speculative import (
    acceptance_of,
    best_draft_tokens,
    expected_speedup,
    expected_tokens,
    replayed,
)
from dotresize.bench.record.draft_records import DraftCounts
from dotresize.bench.record.results import Results, read
from dotresize.bench.record.settings import BenchSettings
from dotresize.bench.run import run_bench
from dotresize.errors import InputError

from ..conftest import SaveCheckpoint
from ..picos import SHAPE

SETTINGS = BenchSettings(
    engine="transformers",
    scenarios=("speculative",),
    input_tokens=8,
    output_tokens=12,
    draft_tokens=(2,),
    rounds=1,
    repeats=1,
    warmup=0,
    dtype="float32",
    device="cpu",
)
NOISE = 0.02  # relative, on every weight: the draft is often right, not always


@pytest.fixture(scope="module")
def draft(pico_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pico Llama with every weight disturbed a little."""
    directory = tmp_path_factory.mktemp("draft") / "disturbed"
    model = AutoModelForCausalLM.from_pretrained(pico_llama)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(NOISE * parameter.std() * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(directory)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (directory / name).write_bytes((pico_llama / name).read_bytes())
    return directory


@pytest.fixture(scope="module")
def report(pico_llama: Path, draft: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("speculative") / "report"
    run_bench([str(pico_llama), str(draft)], SETTINGS, directory, command="dotresize bench ...")
    return directory


@pytest.fixture(scope="module")
def results(report: Path) -> Results:
    return read(report / "results.json")


def test_expected_tokens_are_the_geometric_sum() -> None:
    """Leviathan et al. 2023, equation 1: (1 - a^(k+1)) / (1 - a); at a = 1 all k and one more."""
    for acceptance in (0.0, 0.3, 0.8):
        closed = (1 - acceptance**5) / (1 - acceptance)
        assert expected_tokens(acceptance, 4) == pytest.approx(closed, rel=1e-12)
    assert expected_tokens(1.0, 4) == 5


def test_the_speed_up_is_that_of_theorem_3_8() -> None:
    """Their table 1 has a = 0.8, k = 5: 3.69 times fewer passes of the original, which is c = 0."""
    assert expected_speedup(0.8, 5, 0.0) == pytest.approx(3.69, abs=0.005)
    assert expected_speedup(0.8, 5, 0.02) == pytest.approx(3.689 / 1.1, rel=1e-3)


def test_a_draft_helps_just_when_it_is_right_more_often_than_it_costs() -> None:
    """Corollary 3.9; with k = 1 the speed-up is (1 + a) / (1 + c)."""
    assert best_draft_tokens(0.6, 0.7) == 0
    assert best_draft_tokens(0.75, 0.7) == 1
    assert best_draft_tokens(0.9, 0.05) > 5
    assert expected_speedup(0.75, 1, 0.7) == pytest.approx(1.75 / 1.7)


def test_acceptance_is_estimated_from_the_tokens_that_were_examined() -> None:
    """Ten drafts of two: six had a first right one, three of these a second. 9 of 10 + 6 examined."""
    counts = DraftCounts(drafts=10, drafted_tokens=20, accepted_per_position=[6, 3])
    assert acceptance_of([counts]) == pytest.approx(9 / 16)
    assert acceptance_of([]) is None
    assert acceptance_of([replace(counts, drafts=0, accepted_per_position=[0, 0])]) is None


def test_a_replay_counts_what_drafting_would() -> None:
    """By hand, k = 2: right right +1, wrong +1, right wrong +1, right (the end)."""
    counts = replayed([True, True, False, False, True, False, True], 2)
    assert (counts.drafts, counts.accepted_per_position) == (4, [3, 1])
    assert replayed([True] * 9, 2).drafts == 3
    assert replayed([False] * 4, 3).accepted_tokens == 0


def test_the_answer_with_a_draft_is_the_originals(results: Results, pico_llama: Path) -> None:
    """Also the one that stock transformers gives without any bench around it."""
    (record,) = results.speculative
    assert record.prompts == 3  # of three texts
    assert record.identical_prompts == 3
    answers = {(m.model, m.load): m.tokens for m in results.measurements}
    assert answers[pico_llama.name, 0] == answers[pico_llama.name, 2] == answers["disturbed", 2]
    assert answers["disturbed", 0] != answers[pico_llama.name, 0], "the draft alone says the same: no test"


def test_acceptance_and_length_belong_together(results: Results) -> None:
    (measured,) = [m for m in results.measurements if m.draft is not None]
    assert (measured.model, measured.load) == ("disturbed", 2)
    counts = measured.draft
    assert counts is not None
    assert counts.drafts >= counts.accepted_per_position[0] >= counts.accepted_per_position[1]
    (record,) = results.speculative
    assert record.accepted_share is not None
    assert 0 < record.accepted_share < 1
    assert record.tokens_per_step == pytest.approx(1 + counts.accepted_tokens / counts.drafts)
    tokens = sum(map(len, measured.tokens or []))
    steps_without_draft = tokens - counts.accepted_tokens - counts.drafts
    assert 0 <= steps_without_draft <= record.prompts  # the last token of an answer needs none


def test_costs_predictions_and_ceiling_are_there(results: Results) -> None:
    (record,) = results.speculative
    assert record.cost_ratio is not None
    assert record.acceptance is not None
    assert record.cost_ratio_possible == pytest.approx(1, rel=1e-6)  # the draft has the original's shape
    assert record.ceiling == pytest.approx(expected_speedup(record.acceptance, 2, 1.0))
    assert record.predicted_speedup == expected_speedup(record.acceptance, 2, record.cost_ratio)
    points = {(c.load, c.metric): c for c in results.comparisons}
    assert points[2, "tpot_seconds"].ceiling == record.ceiling
    assert len(points[0, "tpot_seconds"].pairs) == 1


def test_the_report_says_it(report: Path, results: Results) -> None:
    (sentence,) = results.summary
    assert "with disturbed as its draft" in sentence
    assert "3 of 3 greedy answers identical" in sentence
    page = (report / "report.md").read_text()
    assert "all 3 are identical" in page
    assert "The draft: how often it is right" in page
    assert json.loads((report / "results.json").read_text())["speculative"][0]["prompts"] == 3


def test_another_vocabulary_is_no_draft(pico_llama: Path, save_pico: SaveCheckpoint, tmp_path: Path) -> None:
    other = save_pico(LlamaConfig(**(SHAPE | {"vocab_size": 400})), "wide")
    with pytest.raises(InputError, match="has 400 tokens and llama-tied 384; a draft needs the original's"):
        run_bench([str(pico_llama), str(other)], SETTINGS, tmp_path / "r", command="")
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
@pytest.mark.vllm
def test_vllm_with_a_draft_says_what_the_original_says(pico_llama: Path, draft: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, engine="vllm")
    run_bench([str(pico_llama), str(draft)], settings, tmp_path / "r", command="dotresize bench ...")
    results = read(tmp_path / "r" / "results.json")
    assert {m.status for m in results.measurements} == {"ok"}
    (record,) = results.speculative
    assert (record.prompts, record.identical_prompts) == (3, 3)
    assert record.accepted_share is not None
    assert 0 < record.accepted_share < 1
