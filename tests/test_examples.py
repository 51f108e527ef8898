"""The examples, and the Python that README shows, run as they stand on picos."""

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.picos import SHAPE

from .text import TEXT

if TYPE_CHECKING:
    from tests.conftest import SaveCheckpoint

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


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


@pytest.mark.slow
def test_the_python_of_readme_runs(save_pico: "SaveCheckpoint", tmp_path: Path) -> None:
    """With a pico in place of SmolLM2: wide enough for blocks of 32, and for windows of 1,024 tokens."""
    pytest.importorskip("onnxruntime_genai")
    from transformers import LlamaConfig

    shape = SHAPE | {"intermediate_size": 256, "max_position_embeddings": 2048}
    pico = save_pico(LlamaConfig(**shape, tie_word_embeddings=True), "readme")
    (block,) = re.findall(r"(?s)```python\n(.+?)```", (ROOT / "README.md").read_text(encoding="utf-8"))
    (tmp_path / "block.py").write_text(block.replace("demo:smollm2-135m", str(pico)), encoding="utf-8")
    command = [sys.executable, "block.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    verified, *_, endpoint = done.stdout.strip().splitlines()
    assert verified == "True"
    assert endpoint.startswith("http://127.0.0.1:")
    for written in ("narrow/config.json", "narrow.gguf", "narrow-onnx/model.onnx", "report/report.html"):
        assert (tmp_path / written).is_file(), written
