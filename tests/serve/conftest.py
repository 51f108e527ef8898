"""What the serve tests share: models with a reference, and the real command in a process of its own.

pico_served       directory: the untied pico Llama with reference and manifest (read-only)
pico_onnx         directory: its ONNX export, float32
long_pico_onnx    directory: the same for 8192 positions: an answer that fills them takes a second or more
start_serve       a function that runs `dotresize serve ...` until it is ready; all are stopped at the end
malformed         200 requests, none of which deserves an answer: (path, headers, body)
"""

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from dotresize.export.contract import manifest, reference
from dotresize.export.contract.manifest import Manifest
from dotresize.serve.engine.ports import check_port_is_free

from ..workers import Once

API_KEY = "sesame-open-4711"
MALFORMED_REQUESTS = 200
START_SECONDS = 300
Malformed = tuple[str, dict[str, str], bytes]


@dataclass
class Served:
    """A running `dotresize serve`."""

    process: subprocess.Popen[str]
    url: str
    model: str
    log: Path
    errors: Path  # what it wrote to stderr

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def tree(self) -> list[psutil.Process]:
        """Every process that it started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, signal_number: int, seconds: float = 30) -> int:
        """Send a signal and wait; returns the exit code."""
        self.process.send_signal(signal_number)
        return self.process.wait(seconds)


def assert_nothing_is_left(tree: list[psutil.Process], port: int, seconds: float = 10) -> None:
    """No process of the tree lives, and an engine could listen on the port."""
    assert tree
    _, alive = psutil.wait_procs(tree, timeout=seconds)
    assert alive == []
    check_port_is_free("127.0.0.1", port)


def dotresize_command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "dotresize.cli", *map(str, arguments)]


@pytest.fixture(scope="session")
def start_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    started: list[subprocess.Popen[str]] = []

    def start(directory: Path, *arguments: str, api_key: str | None = None) -> Served:
        folder = tmp_path_factory.mktemp("served")
        options: list[str | Path] = ["--port", "0", "--json", "--log-file", folder / "log"]
        if api_key is not None:
            (folder / "key").write_text(api_key + "\n")
            options += ["--api-key-file", folder / "key"]
        with (folder / "errors").open("w") as errors:
            command = dotresize_command("serve", directory, *options, *arguments)
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, text=True
            )
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (folder / "errors").read_text()
        data = json.loads(line)
        return Served(process, data["url"], data["model"], folder / "log", folder / "errors")

    yield start
    for process in started:
        process.terminate()
    for process in started:
        process.wait(START_SECONDS)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="session")
def pico_served(pico_llama_untied: Path, made_once: Once) -> Path:
    return made_once("served", lambda to: with_reference(pico_llama_untied, to / "pico")) / "pico"


@pytest.fixture(scope="session")
def pico_onnx(pico_served: Path, made_once: Once) -> Path:
    return made_once("served-onnx", lambda to: export_onnx_float32(pico_served, to)) / "pico-onnx"


@pytest.fixture(scope="session")
def long_pico_onnx(pico_llama_untied: Path, save_pico: Callable[..., Path], made_once: Once) -> Path:
    from transformers import AutoConfig

    def make(folder: Path) -> None:
        config = AutoConfig.from_pretrained(pico_llama_untied)
        config.max_position_embeddings = 8192
        made = save_pico(config, "llama-long")
        export_onnx_float32(with_reference(made, folder / "long"), folder)

    return made_once("served-long", make) / "long-onnx"


def with_reference(checkpoint: Path, target: Path) -> Path:
    """A copy with reference logits and a manifest, as `dotresize compress` would have left it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    directory = shutil.copytree(checkpoint, target)
    model = AutoModelForCausalLM.from_pretrained(directory)
    made = reference.make_reference(model, AutoTokenizer.from_pretrained(directory))
    record = Manifest(
        format="huggingface",
        precision="float32",
        files={"model.safetensors": manifest.file_record(directory / "model.safetensors")},
        reference=reference.save(made, directory),
    )
    manifest.write(record, directory)
    return directory


def export_onnx_float32(directory: Path, folder: Path) -> None:
    from dotresize.export.to_onnx import OnnxConfig, export_onnx

    export_onnx(directory, folder / f"{directory.name}-onnx", OnnxConfig(precision="fp32"))


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def malformed() -> Callable[[str], list[Malformed]]:
    """For a model name, the requests. Every kind appears many times, in an order drawn by seed."""

    def requests(model: str) -> list[Malformed]:
        draw = random.Random(0)
        return [_malformed_request(draw, number, model) for number in range(MALFORMED_REQUESTS)]

    return requests


WRONG_VALUES: dict[str, list[Any]] = {
    "max_tokens": ["many", -1, 1.5, [4], {"tokens": 4}, 10**9],
    "temperature": ["hot", -1, [0.5], {}],
    "top_p": [0, 5, "most", [1]],
    "n": ["one", -2, [1]],
    "stop": [{"text": "x"}, 3],
    "seed": ["lucky", 1.5, 2**70],
    "stream": ["perhaps", 7],
    "stream_options": ["usage", 3],
    "model": ["no-such-model", 7, "../../etc/passwd", "x" * 5000],
}
WRONG_PROMPTS: list[Any] = [
    7,
    {},
    {"text": "hi"},
    "lighthouse " * 20_000,
    [10**9],
    [-1],
    ["a", 1],
    [[1], "a"],
]
WRONG_MESSAGES: list[Any] = [
    "hi",
    7,
    {},
    [7],
    [{"role": "user"}, "hi"],
    [{"content": "hi"}],
    [{"role": "user", "content": 7}],
    [{"role": "user", "content": "lighthouse " * 20_000}],
]
BROKEN_BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"\xff\xfe\x00",
    b"{'model': 1}",
    b'{"model": }',
    b"\x00" * 999,
]
WRONG_KEYS = [
    {},
    {"Authorization": "Bearer wrong"},
    {"Authorization": API_KEY},
    {"Authorization": "Basic eDp5"},
]


def _malformed_request(draw: random.Random, number: int, model: str) -> Malformed:
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
    chat = draw.random() < 0.5
    path = "/v1/chat/completions" if chat else "/v1/completions"
    field = "messages" if chat else "prompt"
    body: dict[str, Any] = {"model": model, "max_tokens": 2, "stream": draw.random() < 0.5}
    body[field] = [{"role": "user", "content": "hi"}] if chat else "hi"
    kind = number % 6
    if kind == 0:
        name = draw.choice(sorted(WRONG_VALUES))
        body[name] = draw.choice(WRONG_VALUES[name])
    elif kind == 1:
        body[field] = draw.choice(WRONG_MESSAGES if chat else WRONG_PROMPTS)
        body["stream"] = False  # vLLM answers a stream with 200 before it looks at token ids
    elif kind == 2:
        return path, headers, draw.choice(BROKEN_BODIES)
    elif kind == 3:
        headers = {"Content-Type": "application/json"} | draw.choice(WRONG_KEYS)
    elif kind == 4:
        del body[field]
    else:
        path = draw.choice(["/v1/completion", "/v1/chat", "/v2/completions", "/v1/models", "/admin"])
    return path, headers, json.dumps(body).encode()
