"""`dotresize chat` and the soak, on a pico model behind the ONNX engine."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import API_KEY, Served, dotresize_command


@pytest.fixture(scope="module")
def served(pico_onnx: Path, start_serve: Callable[..., Served]) -> Served:
    return start_serve(pico_onnx, api_key=API_KEY)


def chat(*arguments: str | Path, lines: str = "", key: str = API_KEY) -> Any:
    return subprocess.run(
        dotresize_command("chat", *arguments),
        input=lines,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": "/usr/bin", "VLLM_API_KEY": key},
    )


def test_one_question_to_a_url(served: Served) -> None:
    done = chat(served.url, "--message", "Who are you?", "--max-tokens", "20")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "tokens" in done.stderr
    assert "tokens/s" in done.stderr


def test_a_conversation_is_remembered_until_a_new_one(served: Served) -> None:
    done = chat(served.url, "--max-tokens", "8", lines="Hi\nHi\n/new\nHi\n\n")
    assert done.returncode == 0, done.stderr
    alone = chat(served.url, "--max-tokens", "8", "--message", "Hi")
    assert done.stdout.startswith(alone.stdout)
    assert done.stdout.endswith(alone.stdout)
    assert done.stderr.count("tokens/s") == 3


def test_a_directory_is_served_meanwhile(pico_onnx: Path) -> None:
    done = chat(pico_onnx, "--message", "Hi", "--max-tokens", "8", key="")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_failures_end_the_chat_with_the_reason(served: Served) -> None:
    assert "HTTP 401: missing or wrong API key" in chat(served.url, "-m", "Hi", key="wrong").stderr
    too_long = chat(served.url, "-m", "Hi " * 300)
    assert too_long.returncode == 4
    assert "no complete answer: HTTP 400: the context holds 256 tokens" in too_long.stderr
    nobody = chat("http://127.0.0.1:9", "-m", "Hi")
    assert nobody.returncode == 4
    assert "is the server running?" in nobody.stderr
    assert "cannot take effect" in chat(served.url, "--engine", "onnx").stderr


def test_a_soak_counts_and_measures(pico_onnx: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "dotresize.cli.soak",
            str(pico_onnx),
            "--minutes",
            "0.03",
            "--max-tokens",
            "8",
            "--json",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["sent"] == report["answered"] > 4
    assert report["failed"] == report["changed_answers"] == report["count_mismatches"] == 0
    assert report["memory_peak_bytes"] >= report["memory_end_bytes"] > 10**7
    assert 1.8 <= report["seconds"] < 20
