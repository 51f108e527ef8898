"""Causes found in real logs of vLLM 0.32, cut to the lines that matter."""

from pathlib import Path

import pytest

from dotresize.serve.engine.log import LogFollower, explain_failure, useful

WORKER = "(Worker pid=12) ERROR 11-22 01:00:31 [multiproc_executor.py:953] "
ECHO = (
    "(EngineCore pid=11) ERROR 11-22 01:00:36 [core.py:1510] Exception: WorkerProc initialization failed "
    "due to an exception in a background process. See stack trace for root cause.\n"
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n"
)
WARNING = (
    "(APIServer pid=10) WARNING 11-22 00:59:40 [system_utils.py:255] Found ulimit of 20000 and failed to "
    "automatically increase; errors like `OSError: [Errno 24] Too many open files`.\n"
)


@pytest.mark.parametrize(
    ("log", "explanation"),
    [
        (
            "usage: entry.py [-h]\nentry.py: error: unrecognized arguments: --nonsense\n",
            "unrecognized arguments: --nonsense",
        ),
        (
            f"{WORKER}ValueError: Available memory on node 0 (5.19/10.84 GiB) on kv cache allocation is "
            f"less than requested memory for kv (500.0 GiB). Decrease VLLM_CPU_KVCACHE_SPACE.\n{ECHO}",
            "out of memory: ValueError: Available memory on node 0 (5.19/10.84 GiB) on kv cache allocation "
            "is less than requested memory for kv (500.0 GiB). Decrease VLLM_CPU_KVCACHE_SPACE.",
        ),
        (
            f"{WORKER}torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n{ECHO}",
            "out of memory: OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.; lower "
            "--max-model-len or --gpu-memory-utilization, or free memory",
        ),
        (
            f"{WORKER}safetensors._safetensors_rust.SafetensorError: Error while reading header\n{ECHO}",
            "the weights cannot be loaded: SafetensorError: Error while reading header; copy or make the "
            "model again",
        ),
        (
            "    sock.bind(addr)\nOSError: [Errno 98] Address already in use\n",
            "the port was taken while the engine started; choose another, or --port 0 for a free one",
        ),
        (
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
            "  Value error, heads (9) must be divisible by size (2). [type=value_error, input_value=x]\n",
            "ValidationError: heads (9) must be divisible by size (2).",
        ),
        (
            "(APIServer pid=10) WARNING 11-22 01:26:05 [core_client.py:817] engine core exited unexpectedly",
            "one of its processes was killed, perhaps because memory ran out",
        ),
        ("nothing to see\n", "it ended with exit code 1 and named no cause"),
    ],
)
def test_the_cause_is_named_in_one_line(log: str, explanation: str) -> None:
    assert explain_failure(WARNING + log, 1) == explanation


def test_a_kill_without_a_word_is_named() -> None:
    assert "SIGKILL" in explain_failure("", 137)


def test_lines_worth_showing() -> None:
    prefix = "(EngineCore pid=7899) INFO 11-22 00:56:37 [kv_cache_utils.py:2327] "
    assert useful(prefix + "CPU KV cache size: 23,296 tokens") == "CPU KV cache size: 23,296 tokens"
    assert useful(prefix + "Route: /health, Methods: GET") is None
    assert useful(WORKER + "ValueError: too small") == "ValueError: too small"
    assert useful(ECHO.splitlines()[0]) is None
    assert useful("INFO serving pico on 127.0.0.1 port 1") == "serving pico on 127.0.0.1 port 1"


def test_only_new_and_complete_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"from an earlier run\n")
    follower = LogFollower(path)
    assert follower.new_lines() == []
    with path.open("ab") as stream:
        stream.write(b"one\ntw")
        stream.flush()
        assert follower.new_lines() == ["one"]
        stream.write("o\rthré".encode()[:-1])
        stream.flush()
        assert follower.new_lines() == ["two"]
        stream.write("é\n".encode()[1:])
    assert follower.new_lines() == ["thré"]
    assert follower.everything() == "one\ntwo\rthré\n"
