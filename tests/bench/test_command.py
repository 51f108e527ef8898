"""`dotresize bench --compare` and `dotresize tasks` as other people's CI calls them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dotresize.bench.record.results import write

from ..forked import forked
from .example_results import example_results

TASKS = Path(__file__).parent / "tasks"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    write(example_results(), tmp_path / "old.json")
    return tmp_path / "old.json"


def test_the_same_results_pass(old: Path) -> None:
    done = forked("bench", "--compare", old, old, "--fail-above", "1%", "--json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout.splitlines()[-1])
    assert data["exceeded"] == []
    assert data["fail_above"] == 0.01
    assert all(change["worsening"] == 0 for change in data["changes"])


def test_a_slower_model_fails_the_build_and_is_named(old: Path, tmp_path: Path) -> None:
    write(example_results(slowdown=1.3, seed=2), tmp_path / "new.json")
    done = forked("bench", "--compare", old, tmp_path / "new.json", "--fail-above", "10%", "--json")
    assert done.returncode == 1
    exceeded = json.loads(done.stdout.splitlines()[-1])["exceeded"]
    assert {change["model"] for change in exceeded} == {"mlp-0.75"}
    assert "got worse by more than 10%" in done.stderr
    without_limit = forked("bench", "--compare", old, tmp_path / "new.json")
    assert without_limit.returncode == 0


def test_another_machine_is_a_warning(old: Path, tmp_path: Path) -> None:
    results = example_results()
    results.environment = replace(results.environment, processor="Another 9000")
    write(results, tmp_path / "new.json")
    done = forked("bench", "--compare", old, tmp_path / "new.json")
    assert done.returncode == 0
    assert "warning: machine: processor differs:" in done.stderr
    assert "Another 9000" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--compare", "old.json"], "--compare takes two results files, old and new; 1 given"),
        (["--compare", "none.json", "none.json"], "none.json cannot be read as benchmark results"),
        (["a", "b", "-o", "out", "--fail-above", "5%"], "--fail-above takes effect with --compare only"),
        (["a", "b"], "name a directory for the report with -o"),
        (["a", "b", "-o", "out", "--batch-sizes", "one"], "--batch-sizes is 'one', expected whole numbers"),
    ],
)
def test_wrong_calls_say_what_to_do(arguments: list[str], message: str) -> None:
    done = forked("bench", *arguments)
    assert done.returncode == 2
    assert f"error: {message}" in done.stderr


def test_tasks_score_directories_side_by_side(pico_llama: Path, pico_onnx: Path) -> None:
    done = forked(
        *("tasks", pico_llama, pico_onnx, "--tasks", "which_word", "--task-directory", TASKS),
        *("--limit", "4", "--json"),
    )
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout.splitlines()[-1])["scores"]
    assert {score["model"] for score in scores} == {pico_llama.name, pico_onnx.name}
    assert {score["documents"] for score in scores} == {4}


def test_an_endpoint_needs_a_tokenizer() -> None:
    done = forked("tasks", "http://127.0.0.1:9/v1", "--tasks", "which_word")
    assert done.returncode == 2
    assert "is an endpoint: name a directory with its tokenizer by --tokenizer" in done.stderr
