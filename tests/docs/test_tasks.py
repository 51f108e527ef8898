"""The page of tasks on a pico: every score once, going on after an interrupt, and its text."""

from pathlib import Path

import pytest

from docs.make.tasks import maker as tasks
from docs.make.tasks.page import render
from dotresize.bench.process.environment import read_environment
from dotresize.bench.quality.offline.suite import write_suite


def test_scores_are_kept_and_make_a_page(
    pico_llama: Path, pico_llama_untied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, file = [str(pico_llama), str(pico_llama_untied)], tmp_path / "page.json"
    chosen = ("offline_arithmetic",)
    monkeypatch.setattr(tasks, "write_suite", lambda directory: write_suite(directory, chosen))
    results = tasks.run(models[:1], file, tmp_path / "builds", limit=8, tasks=chosen)
    before = results["models"][models[0]]["tasks"]
    results = tasks.run(models, file, tmp_path / "builds", limit=8, tasks=chosen)
    assert results["models"][models[0]]["tasks"] == before  # its seconds, too: it did not run again
    marks = {name: each["tasks"][chosen[0]]["right"] for name, each in results["models"].items()}
    assert [len(each) for each in marks.values()] == [8, 8]

    page = render(results)
    first, second = (each.count("1") / 8 * 100 for each in marks.values())
    assert f"| {models[0]} | {first:.1f} ± " in page
    assert f"| {models[1]} | {second - first:+.1f} ± " in page
    assert "A trial: 8 questions of each." in page
    assert page.count(f"minutes ({read_environment().processor})") == 2
