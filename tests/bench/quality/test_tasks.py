"""The real lm-eval on the local task beside this file. Oracle: choices scored here with transformers."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dotresize.bench.quality.tasks import TaskModel, run_tasks
from dotresize.compress.weights.source import load_dense
from dotresize.errors import InputError, ModelError, OptionError

TASKS = Path(__file__).parents[1] / "tasks"


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def model_at(directory: Path) -> TaskModel:
    return TaskModel(name="pico", location=str(directory))


@torch.no_grad()
def accuracy(directory: Path) -> float:
    """The most likely choice after each sentence, summed over its tokens."""
    dense = load_dense(str(directory))
    right = 0
    documents = [json.loads(line) for line in (TASKS / "which_word.jsonl").read_text().splitlines()]
    for document in documents:
        scores = []
        context = dense.tokenizer(document["sentence"], add_special_tokens=False)["input_ids"]
        for choice in document["choices"]:
            ids = dense.tokenizer(f"{document['sentence']} {choice}", add_special_tokens=False)["input_ids"]
            logits = dense.model(torch.tensor([ids])).logits[0].log_softmax(-1)
            scores.append(sum(float(logits[at - 1, ids[at]]) for at in range(len(context), len(ids))))
        right += max(range(len(scores)), key=scores.__getitem__) == document["answer"]
    return right / len(documents)


def test_lm_eval_scores_a_local_task(pico_llama: Path) -> None:
    scores = run_tasks([model_at(pico_llama)], ["which_word"], task_directory=TASKS, device="cpu")
    by_metric = {score.metric: score for score in scores}
    assert set(by_metric) == {"acc", "acc_norm"}
    assert by_metric["acc"].value == accuracy(pico_llama)
    assert by_metric["acc"].documents == 32
    assert by_metric["acc"].standard_error == pytest.approx(
        (by_metric["acc"].value * (1 - by_metric["acc"].value) / 31) ** 0.5, rel=1e-6
    )


def test_examples_stand_before_a_question_and_samples_are_kept(pico_llama: Path, tmp_path: Path) -> None:
    run_tasks(
        [model_at(pico_llama)],
        ["which_word"],
        task_directory=TASKS,
        device="cpu",
        limit=2,
        num_fewshot=1,
        samples_directory=tmp_path,
    )
    samples = [
        json.loads(line) for line in (tmp_path / "samples_pico_which_word.jsonl").read_text().splitlines()
    ]
    assert len(samples) == 2
    for sample in samples:
        assert sample["arguments"][0][0].count("\n\n") == 1  # between the example and the question


def test_a_model_that_lacks_a_tensor_is_not_scored(pico_llama: Path, tmp_path: Path) -> None:
    shutil.copytree(pico_llama, tmp_path / "m")
    tensors = load_file(tmp_path / "m" / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "m" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks model\.layers\.1\.mlp\.up_proj\.weight"):
        run_tasks([model_at(tmp_path / "m")], ["which_word"], task_directory=TASKS, device="cpu")


def test_an_unknown_task_lists_what_the_directory_has(pico_llama: Path) -> None:
    with pytest.raises(InputError, match=r"unknown task which_wrod; .*tasks has which_word; lm-eval's own"):
        run_tasks([model_at(pico_llama)], ["which_wrod"], task_directory=TASKS, device="cpu")


def test_missing_data_is_said(pico_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "which_word.yaml").write_text((TASKS / "which_word.yaml").read_text())
    with pytest.raises(
        InputError, match="the tasks which_word cannot be read by lm-eval: .*which_word.jsonl"
    ):
        run_tasks([model_at(pico_llama)], ["which_word"], task_directory=tmp_path, device="cpu")


def test_a_missing_task_directory_is_said(pico_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not a directory"):
        run_tasks([model_at(pico_llama)], ["which_word"], task_directory=tmp_path / "nowhere")


def test_no_task_is_refused(pico_llama: Path) -> None:
    with pytest.raises(OptionError, match="no task was named"):
        run_tasks([model_at(pico_llama)], [])


def test_without_lm_eval_the_extra_is_named(pico_llama: Path) -> None:
    """A fresh interpreter whose import system refuses lm_eval."""
    program = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'lm_eval' else find(name, *rest)\n"
        "from dotresize.bench.quality.tasks import run_tasks\n"
        "from dotresize.errors import MissingDependencyError\n"
        "try:\n    run_tasks([], ['x'])\n"
        "except MissingDependencyError as error:\n    print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 'pip install "dotresize[tasks]"' in ended.stdout


@pytest.mark.slow
def test_the_real_model_knows_the_words(smollm2_directory: Path) -> None:
    """32 choices of four: chance is 0.25 +- 0.08, so 0.7 is out of its reach."""
    scores = run_tasks([model_at(smollm2_directory)], ["which_word"], task_directory=TASKS, device="cpu")
    assert {score.metric: score.value for score in scores}["acc"] > 0.7
