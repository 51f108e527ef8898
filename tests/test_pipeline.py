"""From a model to a verified narrow checkpoint through the real command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .forked import Fork, forked
from .text import TEXT

QUICK = ["--calibration", TEXT, "--window-tokens", "64", "--calibration-windows", "6"]
SHORT = [*QUICK, "--evaluation", "builtin", "--evaluation-windows", "3"]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "dotresize.cli", *map(str, arguments)]


def dotresize(*arguments: str | Path, code: int = 0, fresh: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command, in a fork or in a fresh interpreter."""
    if fresh:
        done = subprocess.run(
            command(*arguments), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    else:
        done = forked(*arguments)
    assert done.returncode == code, done.stderr
    return done


def last_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return data


def siblings(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_compress_then_verify_then_perplexity(pico_llama: Path, tmp_path: Path) -> None:
    out = tmp_path / "narrow"
    done = dotresize(
        "compress",
        pico_llama,
        "-o",
        out,
        "--hidden-size",
        "0.75",
        "--intermediate-size",
        "0.75",
        *SHORT,
        "--json",
        fresh=True,
    )
    data = last_json(done)
    assert len(done.stdout.splitlines()) == 1
    assert data["report"]["narrow"]["hidden_size"] == 48
    assert "narrow the layers" in done.stderr
    assert siblings(tmp_path) == {"narrow"}
    expected = {"config.json", "model.safetensors", "generation_config.json", "tokenizer.json", "README.md"}
    assert expected | {"dotresize.json", "reference"} <= siblings(out)
    config = json.loads((out / "config.json").read_text())
    assert (config["hidden_size"], config["intermediate_size"], config["head_dim"]) == (48, 72, 32)
    assert config["tie_word_embeddings"] is False
    texts = data["quality"]["texts"]
    assert [text["text"] for text in texts] == ["builtin:documentation", "builtin:code", "builtin:chat"]
    measured = texts[0]["models"][1]["perplexity"]["value"]
    assert f"| narrow | {measured:.2f} ±" in (out / "README.md").read_text()

    dotresize("verify", out, "--runtime", "transformers")
    scored = dotresize(
        "perplexity", pico_llama, out, "--window-tokens", "64", "--evaluation-windows", "3", "--json"
    )
    # loaded from disk, the models score what they scored in memory
    for stored, now in zip(texts, last_json(scored)["texts"], strict=True):
        for before, after in zip(stored["models"], now["models"], strict=True):
            assert after["perplexity"]["value"] == pytest.approx(before["perplexity"]["value"], rel=1e-5)


def test_two_runs_write_the_same_bytes(pico_llama_untied: Path, tmp_path: Path) -> None:
    for name, fresh in (("a", True), ("b", False)):  # with two hash seeds, too
        more = ["--intermediate-size", "0.5", *SHORT]
        dotresize("compress", pico_llama_untied, "-o", tmp_path / name, *more, fresh=fresh)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert files
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_existing_output_is_refused_before_any_work(pico_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    arguments: list[str | Path] = [
        "compress",
        pico_llama,
        "-o",
        tmp_path / "out",
        "--intermediate-size",
        "0.5",
        *SHORT,
    ]
    refused = dotresize(*arguments, code=2)
    assert "out" in refused.stderr
    assert "exists" in refused.stderr
    assert "narrow" not in refused.stderr
    assert siblings(tmp_path / "out") == {"mine.txt"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere/at/all", "--intermediate-size", "0.5"], "neither a local path nor a hub id"),
        (["{model}"], "no new width was given"),
        (
            ["{model}", "--intermediate-size", "0.5", "--calibration", TEXT, "--evaluation", TEXT],
            "was given for",
        ),
        (["{model}", "--hidden-size", "7.5"], "give a whole number, or a fraction in"),
        (["{model}", "--hidden-size", "50"], "Nearest legal: 48 and 52"),
        (
            ["{model}", "--intermediate-size", "0.5", "--dtype", "int3"],
            "choose one of auto, float32, bfloat16, float16",
        ),
        (["{model}", "--intermediate-size", "0.5", "--calibration", "no.txt"], "no.txt is not a file"),
        (["{model}", "--intermediate-size", "0.5", "--calibration-windows", "99999"], "99999 were asked for"),
    ],
)
def test_mistakes_end_in_one_line_and_leave_nothing(
    pico_llama: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    filled = [argument.format(model=pico_llama) for argument in arguments]
    failed = dotresize("compress", *filled, "-o", tmp_path / "out", code=2)
    assert message in failed.stderr.replace("\n", " ")
    assert "Traceback" not in failed.stderr
    assert siblings(tmp_path) == set()


def test_a_run_that_failed_before_anything_was_kept_leaves_nothing(pico_llama: Path, tmp_path: Path) -> None:
    options = ["--intermediate-size", "0.5", "--mlp-method", "dot", "--reg", "1e-7", *SHORT]
    failed = dotresize("compress", pico_llama, "-o", tmp_path / "out", *options, code=3)
    assert "raise --reg" in failed.stderr
    assert siblings(tmp_path) == set()


def test_a_killed_run_leaves_no_output_and_resumes(pico_llama: Path, tmp_path: Path) -> None:
    out, partial = tmp_path / "out", tmp_path / ".out.dotresize-work"
    arguments: list[str | Path] = [
        "compress", pico_llama, "-o", out, "--hidden-size", "0.75", "--calibration", TEXT,
        "--evaluation", "none", "--window-tokens", "64", "--calibration-windows", "60",
    ]  # fmt: skip
    process = subprocess.Popen(command(*arguments), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (partial / "basis.safetensors").exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()
    dotresize(*arguments)
    assert siblings(tmp_path) == {"out"}


def test_two_runs_into_one_output_do_not_mix(pico_llama: Path, tmp_path: Path) -> None:
    arguments: list[str | Path] = [
        "compress",
        pico_llama,
        "-o",
        tmp_path / "out",
        "--hidden-size",
        "0.75",
        *SHORT,
    ]
    both = [Fork(*arguments) for _ in range(2)]
    ended = [each.end() for each in both]
    errors = [each.stderr for each in ended]
    codes = sorted(each.returncode for each in ended)
    assert codes[0] == 0, errors
    if codes[1]:  # the other came while the first was working, or after it had finished
        assert codes[1] == 2
        assert any("another run is writing" in error or "exists" in error for error in errors)
    dotresize("verify", tmp_path / "out", "--runtime", "transformers")
    assert siblings(tmp_path) == {"out"}


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
@pytest.mark.parametrize("room", ["size=300k", "size=8m,nr_inodes=5", "size=8m,nr_inodes=11"])
def test_a_full_disk_is_one_line_and_leaves_no_output(
    pico_llama_untied: Path, tmp_path: Path, room: str
) -> None:
    """300 kB are too few from the start; 5 files while layers are kept, 11 while the output is written."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", room, "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine does not allow mounting a small file system")
    try:
        extra = ["--intermediate-size", "0.5", *QUICK, "--evaluation", "none"]
        failed = dotresize("compress", pico_llama_untied, "-o", disk / "out", *extra, code=2)
        told = failed.stderr.replace("\n", " ")
        seen_before = "needs at least 0.60 MB" in told
        assert seen_before == (room == "size=300k")
        assert seen_before or "No space left on device" in told or "the disk is full" in told
        assert "Traceback" not in failed.stderr
        assert siblings(disk) <= {".out.dotresize-work"}
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
@pytest.mark.vllm
def test_the_real_model_narrowed_on_both_axes_runs_in_real_vllm(narrow_smollm2_directory: Path) -> None:
    """Stock transformers and stock vLLM reproduce the reference that travels with the checkpoint."""
    verified = last_json(dotresize("verify", narrow_smollm2_directory, "--json"))
    assert verified["passed"] is True
    assert any("vllm" in check["runtime"] for check in verified["checks"])


@pytest.mark.slow
def test_the_narrowed_real_model_still_speaks(
    smollm2_directory: Path, narrow_smollm2_directory: Path
) -> None:
    scored = dotresize(
        "perplexity", smollm2_directory, narrow_smollm2_directory,
        "--evaluation", "builtin:documentation", "--window-tokens", "512",
        "--evaluation-windows", "4", "--json",
    )  # fmt: skip
    dense, narrow = last_json(scored)["texts"][0]["models"]
    # An untrained model scores the vocabulary size, 49152; a wrongly folded one thousands.
    assert 1.0 < narrow["perplexity_ratio"]["value"] < 2.0
    assert dense["perplexity"]["value"] < 40
