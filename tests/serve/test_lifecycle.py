"""`dotresize serve` as a process: how it starts, refuses, stops, and what it leaves behind."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from dotresize.export.contract import manifest, reference

from .conftest import Served, assert_nothing_is_left, dotresize_command, wait_for
from .live_onnx import Address, answer_on, completion, everything_on, health

VLLM_OPTIONS = ("--dtype", "float32", "--max-model-len", "256")


def serve(directory: Path, *arguments: str, environment: dict[str, str] | None = None) -> Any:
    """Run a `dotresize serve` that is expected to end by itself."""
    return subprocess.run(
        dotresize_command("serve", directory, *arguments),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
        env=os.environ | (environment or {}),
    )


def copy_with_reference(source: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a model whose reference says something else."""
    shutil.copytree(source, target)
    path = target / "reference" / "prompts.json"
    data = json.loads(path.read_text())
    change(data["prompts"][1])
    path.write_text(json.dumps(data))
    record = replace(manifest.read(target), reference=reference.sha256(target))
    manifest.write(record, target)
    return target


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_onnx_stops_on_a_signal_and_leaves_nothing(
    pico_onnx: Path, start_serve: Callable[..., Served], number: int, code: int
) -> None:
    served = start_serve(pico_onnx)
    tree = served.tree()
    assert served.end(number) == code
    assert_nothing_is_left(tree, served.port)


def test_onnx_stops_quietly_while_requests_arrive_wait_and_are_answered(
    long_pico_onnx: Path, start_serve: Callable[..., Served]
) -> None:
    served = start_serve(long_pico_onnx)
    live = Address(served.port)
    endless = completion(8000, model=served.model)
    silent, line, body = live.connect(), live.connect(endless[:20]), live.connect(endless[:-1])
    streaming = live.connect(completion(8000, model=served.model, stream=True))
    assert b"200 OK" in streaming.recv(100)
    waiting = live.connect(endless)
    idle = live.connect(health())
    assert answer_on(idle)[0] == 200
    assert served.end(signal.SIGTERM) == 128 + signal.SIGTERM
    status, answer = answer_on(waiting)
    assert (status, answer["error"]["message"]) == (503, "the server is stopping")
    rest = everything_on(streaming)
    assert b"the server is stopping" in rest
    assert b"data: [DONE]" in rest
    log = served.log.read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log
    for connection in (silent, line, body, streaming, waiting, idle):
        connection.close()


def test_onnx_ends_when_its_parent_is_killed(pico_onnx: Path, start_serve: Callable[..., Served]) -> None:
    served = start_serve(pico_onnx)
    tree = served.tree()
    served.end(signal.SIGKILL)
    assert_nothing_is_left(tree, served.port)


@pytest.mark.slow
@pytest.mark.vllm
def test_vllm_stops_on_ctrl_c_and_leaves_nothing(
    pico_served: Path, start_serve: Callable[..., Served]
) -> None:
    served = start_serve(pico_served, *VLLM_OPTIONS, "--", "--enforce-eager")
    tree = served.tree()
    assert {"VLLM::EngineCor", "VLLM::Worker"} <= {process.name()[:15] for process in tree}
    assert served.end(signal.SIGINT) == 0
    assert_nothing_is_left(tree, served.port)


@pytest.mark.slow
@pytest.mark.vllm
def test_vllm_ends_when_its_parent_is_killed_during_the_start(pico_served: Path, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out:
        parent = subprocess.Popen(
            dotresize_command("serve", pico_served, "--port", "0", *VLLM_OPTIONS, "--", "--enforce-eager"),
            stdout=out,
            stderr=out,
        )

    def tree() -> list[psutil.Process]:
        return psutil.Process(parent.pid).children(recursive=True)

    try:
        wait_for(lambda: any(p.name().startswith("VLLM::") for p in tree()), 120, "an engine core's start")
        started = tree()
    finally:
        parent.kill()
        parent.wait()
    _, alive = psutil.wait_procs(started, timeout=20)
    assert alive == []


@pytest.mark.slow
@pytest.mark.vllm
def test_a_wrong_engine_flag_is_named_without_waiting(pico_served: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    log = tmp_path / "log"
    done = serve(pico_served, "--port", "0", "--log-file", str(log), "--", "--no-such-flag=3")
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1] == (
        f"error: the engine ended: unrecognized arguments: --no-such-flag=3; log: {log}"
    )
    assert time.monotonic() - start < 90  # vLLM's imports, not a time-out
    assert "usage:" in log.read_text()


def test_a_taken_port_is_refused_at_once(pico_served: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = serve(pico_served, "--port", str(port))
    assert done.returncode == 2
    assert f"error: port {port} on 127.0.0.1 is taken by process {os.getpid()}" in done.stderr
    assert "choose another, or --port 0 for a free one" in done.stderr


def test_truncated_weights_are_refused_at_once(pico_served: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(pico_served, tmp_path / "broken")
    os.truncate(broken / "model.safetensors", 5000)
    done = serve(broken)
    assert done.returncode == 2
    assert "model.safetensors is damaged: 5000 bytes, its header promises" in done.stderr


def test_truncated_onnx_weights_are_named(pico_onnx: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(pico_onnx, tmp_path / "broken")
    os.truncate(broken / "model.onnx.data", 5000)
    done = serve(broken, "--port", "0")
    assert done.returncode == 4
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "cannot be opened by ONNX Runtime GenAI" in line
    assert "log: " in line


def test_no_vllm_is_said_with_what_to_do(pico_served: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    done = serve(pico_served, "--vllm-python", str(tmp_path / "bare/bin/python"))
    assert done.returncode == 2
    assert "has no vLLM: install it" in done.stderr


def test_an_engine_that_says_something_else_is_never_ready(pico_onnx: Path, tmp_path: Path) -> None:
    def change(prompt: dict[str, Any]) -> None:
        prompt["greedy_token_ids"][3] += 1
        prompt["greedy_margins"][3] = 5.0

    wrong = copy_with_reference(pico_onnx, tmp_path / "wrong", change)
    done = serve(wrong, "--port", "0")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "error: token 3 after 'def fibonacci" in done.stderr
    assert "preferred by 5.00 logits (rounding explains up to 0.02)" in done.stderr


def test_a_near_tie_may_fall_the_other_way(
    pico_onnx: Path, tmp_path: Path, start_serve: Callable[..., Served]
) -> None:
    def change(prompt: dict[str, Any]) -> None:
        prompt["greedy_token_ids"][3] += 1
        prompt["greedy_margins"][3] = 0.001

    served = start_serve(copy_with_reference(pico_onnx, tmp_path / "tie", change))
    errors = " ".join(served.errors.read_text().split())
    assert "51 of 64 compared over 4 prompts, 1 near-ties fell the other way" in errors
    served.end(signal.SIGTERM)


def test_a_failed_verification_is_not_served_without_asking(
    pico_onnx: Path, tmp_path: Path, start_serve: Callable[..., Served]
) -> None:
    failed = shutil.copytree(pico_onnx, tmp_path / "failed")
    check = manifest.Check(name="logits", runtime="test", measured={}, limits={}, passed=False, note="")
    manifest.write(replace(manifest.read(failed), verification=(check,)), failed)
    done = serve(failed, "--port", "0")
    assert done.returncode == 1
    assert "failed its last verification (logits)" in done.stderr
    served = start_serve(failed, "--no-check")
    assert "--no-check" in served.errors.read_text()
    served.end(signal.SIGTERM)


def test_a_dry_run_prints_the_command_and_starts_nothing(pico_served: Path) -> None:
    arguments = (
        "--dry-run",
        "--device",
        "cuda",
        "--tensor-parallel-size",
        "2",
        "--pipeline-parallel-size",
        "2",
    )
    done = serve(
        pico_served,
        *arguments,
        "--",
        "--distributed-executor-backend",
        "ray",
        environment={"VLLM_API_KEY": "sesame"},
    )
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    assert line.endswith(
        f"{pico_served} --host 127.0.0.1 --port 8000 --served-model-name pico --tensor-parallel-size 2 "
        "--pipeline-parallel-size 2 --dtype auto --distributed-executor-backend ray"
    )
    assert "sesame" not in done.stdout + done.stderr
    assert "ray start --head" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--engine", "onnx"), "holds no genai_config.json"),
        (("--tensor-parallel-size", "3"), "cannot split 4 attention heads"),
        (("--max-model-len", "257"), "more than the model's 256 positions"),
        (("--api-key-file", "/nowhere/key"), "the API key file /nowhere/key cannot be read"),
        (("--", "--api-key", "sesame"), "visible to every user of the machine"),
        (("--", "--trust-remote-code"), "needs no code of its own"),
        (("--host", "192.0.2.77"), "cannot listen on 192.0.2.77"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    pico_served: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    done = serve(pico_served, *arguments)
    assert done.returncode == 2
    assert complaint in done.stderr.splitlines()[-1]
    assert done.stdout == ""


def test_options_of_vllm_cannot_take_effect_with_onnx(pico_onnx: Path) -> None:
    done = serve(pico_onnx, "--dtype", "float32", "--tensor-parallel-size", "2", "--", "--enforce-eager")
    assert done.returncode == 2
    assert "--dtype, --tensor-parallel-size, engine flags after -- cannot take effect" in done.stderr
