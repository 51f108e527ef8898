"""The examples run as they stand, one after the other, on a pico."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
TEXT = Path(__file__).parent / "compress" / "text.txt"


def ran(name: str, *arguments: object) -> str:
    command = [sys.executable, EXAMPLES / f"{name}.py", *arguments]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_narrow_recover_and_compare(pico_llama: Path, tmp_path: Path) -> None:
    narrow, recovered = tmp_path / "narrow", tmp_path / "recovered"
    assert "\nok greedy tokens transformers" in ran("compress_and_verify", pico_llama, narrow, TEXT)
    assert "nats per token" in ran("recover", narrow, pico_llama, recovered, TEXT)
    lines = ran("perplexity", TEXT, pico_llama, narrow, recovered).splitlines()
    assert [str(model) in line for model, line in zip((pico_llama, narrow, recovered), lines, strict=True)]
