"""Tasks without a network. Oracles: rules applied by hand, the functions' own solutions, real lm-eval."""

import json
from pathlib import Path

import pytest

from dotresize.bench.quality.offline.arithmetic import arithmetic
from dotresize.bench.quality.offline.cloze import cloze
from dotresize.bench.quality.offline.execution import completed, passes, process_results
from dotresize.bench.quality.offline.functions import functions
from dotresize.bench.quality.offline.pairs import FAULTS, pairs
from dotresize.bench.quality.offline.passages import Passage, passages
from dotresize.bench.quality.offline.suite import METRICS, TASKS, mean_scores, write_suite
from dotresize.bench.record.results import TaskScore
from tests.forked import forked


@pytest.mark.parametrize(
    ("sentence", "bad", "fault"),
    [
        (
            "Only the first complete match is returned.",
            "Only the first complete match are returned.",
            "agreement",
        ),
        ("All of it can be read back later on.", "All of it can is read back later on.", "verb form"),
        ("Look for a name in all packages.", "Look for an name in all packages.", "article"),
        ("Look through the names of all packages.", "Look through names the of all packages.", "word order"),
    ],
)
def test_a_fault_is_what_its_rule_says(sentence: str, bad: str, fault: str) -> None:
    assert FAULTS[fault](sentence.split(" ")) == bad.split(" ")


def test_a_sentence_goes_to_the_rarest_fault_that_it_can_have() -> None:
    both = "The name of a part is left here."
    found = list(
        pairs([Passage("", both), Passage("", both), Passage("", "It reads `x_1` and is left.")], each=1)
    )
    assert [each["fault"] for each in found] == ["agreement", "word order"]
    assert {each["good"] for each in found} == {both}


def test_the_word_that_is_asked_for_has_been_said() -> None:
    said = Passage("A window has a title.", "Without one the caller has to name the window.")
    unsaid = Passage("A window has a title.", "Without one the caller has to invent something.")
    assert list(cloze([said, unsaid])) == [
        {"text": "A window has a title. Without one the caller has to name the", "word": "window"}
    ]


def test_sums_are_right_and_their_answers_differ() -> None:
    problems = arithmetic(7, 20)
    assert len({problem["text"] for problem in problems}) == 80
    for problem in problems:
        assert len(set(problem["choices"])) == 4
        question, answer = problem["text"].splitlines()[-1], problem["choices"][problem["answer"]]
        if question.endswith("="):
            assert eval(question[:-1]) == int(answer)
        else:
            first, second, *_, last = (int(part) for part in question.rstrip(",").split(", "))
            assert int(answer) == last + second - first
    assert arithmetic(7, 20) == problems
    assert arithmetic(8, 20) != problems


def test_every_function_is_told_apart_from_a_constant() -> None:
    items = functions(42)
    assert len({item["prompt"] for item in items}) == len(items) > 300
    for item in items:
        compile(completed(item["prompt"], item["solution"]), item["function"], "exec")
        results = [json.dumps(result) for _, result in item["calls"]]
        assert len(set(results)) > 1, item["function"]


def test_solutions_pass_and_others_do_not() -> None:
    for item in functions(42)[::60]:
        doc = {**item, "calls": json.dumps(item["calls"])}
        assert process_results(doc, [f" {item['solution']}\n\nprint(1)"]) == {"pass_at_1": 1.0}
        assert process_results(doc, [item["solution"].strip()]) == {
            "pass_at_1": 1.0
        }  # a tokenizer ate a space
        assert process_results(doc, [" None"]) == {"pass_at_1": 0.0}
        assert process_results(doc, [" ("]) == {"pass_at_1": 0.0}


@pytest.mark.parametrize(
    "harm",
    [
        "open('/etc/passwd').read() and x",
        "open('left', 'w').write('x') and x",
        "__import__('os').getpid() and x",
        "__import__('socket').socket() and x",
        "__import__('subprocess').run(['true']) and x",
        "[0] * 10**10 and x",
        "__import__('sys').exit(0)",
        "True if x == 1 else x",
    ],
)
def test_what_a_completion_may_not_do_is_a_failure(harm: str) -> None:
    assert passes("def f(x):\n    return x", "f", [[1, 1], [2, 2]])
    assert not passes(f"def f(x):\n    return {harm}", "f", [[1, 1], [2, 2]])


def test_a_completion_that_does_not_end_is_ended() -> None:
    assert not passes("def f(x):\n    return sum(iter(int, 1))", "f", [[1, 1]])


def test_the_mean_of_tasks_counts_each_alike() -> None:
    found = [
        TaskScore(model="m", task=task, metric=METRICS[task], value=value, standard_error=0.02, documents=9)
        for task, value in zip(TASKS, (0.2, 0.4, 0.6, 0.8), strict=True)
    ]
    (mean,) = mean_scores(found)
    assert mean.value == pytest.approx(0.5)
    assert mean.standard_error == pytest.approx(0.01)  # 0.02 / sqrt(4)


def test_no_question_is_of_a_file_that_is_calibrated_on() -> None:
    first = [next(iter(passages(split))).sentence for split in ("evaluation", "calibration")]
    assert first[0] != first[1]
    assert first[0] == next(iter(passages("evaluation"))).sentence


def test_lm_eval_scores_all_of_it_without_a_network(pico_llama: Path, tmp_path: Path) -> None:
    done = forked(
        "tasks", pico_llama, "--offline", "--limit", "2", "--json", "-o", tmp_path / "out", "--log-samples"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert [(score["task"], score["documents"]) for score in found["scores"]] == [
        *((task, 2) for task in TASKS),
        ("offline", 8),
    ]
    assert {task: known["items"] for task, known in found["offline"]["tasks"].items()} == {
        **dict.fromkeys(TASKS[:3], 1200),  # a standard error of at most 1.44 points
        "offline_code": len(functions(42)),
    }
    assert {source["licence"] for source in found["offline"]["sources"]} == {"PSF-2.0", "BSD-3-Clause"}
    assert len(list((tmp_path / "out").glob("samples_*_offline_*.jsonl"))) == 4


def test_the_same_questions_are_written_again(tmp_path: Path) -> None:
    few = ["offline_arithmetic", "offline_code"]
    assert write_suite(tmp_path, few) == write_suite(tmp_path, few)


def test_two_places_for_tasks_are_refused(pico_llama: Path) -> None:
    done = forked("tasks", pico_llama, "--offline", "--task-directory", ".")
    assert done.returncode == 2
    assert "--task-directory and --offline each say where the tasks are" in done.stderr
