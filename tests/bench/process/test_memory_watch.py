"""A real process tree that takes known amounts of memory and CPU at known times."""

import os
import signal
import subprocess
import sys
import time

import pytest

from dotresize.bench.process.memory_watch import MemoryWatch

MEBIBYTE = 2**20
# A parent with 200 MB; a fork that shares them and adds 50 MB; then 100 MB more in the parent for 0.8 s.
TREE = """
import os, sys, time
shared = bytearray(os.urandom(1)) * (200 << 20)
print("ready", flush=True)
sys.stdin.readline()
child = os.fork()
if child == 0:
    own = bytearray(b"x") * (50 << 20)
    time.sleep(60)
time.sleep(1.5)
more = bytearray(b"y") * (100 << 20)
time.sleep(0.8)
del more
print("done", flush=True)
time.sleep(60)
"""


def start(code: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_shared_pages_count_once_and_short_peaks_are_seen() -> None:
    process = start(TREE)
    try:
        with MemoryWatch(process.pid) as watch:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("go\n")
            process.stdin.flush()
            process.stdout.readline()
            time.sleep(0.1)
    finally:
        end(process)
    report = watch.report
    assert report.peak_bytes is not None
    # 350 MB and an interpreter (about 10 MB); counted twice, the shared pages would make it 550 MB
    assert 350 * MEBIBYTE < report.peak_bytes < 400 * MEBIBYTE
    assert report.shared_counted_once
    assert report.samples > 2
    assert 0 < report.own_share < 1


BUSY = "import time; print('ready', flush=True)\nwhile True: pass"


def test_work_outside_the_tree_is_counted_and_work_inside_is_not() -> None:
    inside = start(BUSY)
    try:
        with MemoryWatch(inside.pid) as quiet:
            time.sleep(1.0)
        outside = start(BUSY)
        try:
            with MemoryWatch(inside.pid) as disturbed, MemoryWatch(os.getpid()) as both:
                time.sleep(1.0)
        finally:
            end(outside)
    finally:
        end(inside)
    foreign = disturbed.report.busy_elsewhere
    ours = both.report.busy_elsewhere  # the tree of this test holds both processes
    assert foreign is not None
    assert ours is not None
    assert quiet.report.busy_elsewhere is not None
    # One busy process gets at least a fifth of a core, even beside other work, and the kernel counts in
    # hundredths of a second.
    assert foreign - ours > 0.2 / (os.cpu_count() or 1)


def test_a_process_that_dies_ends_the_watch_without_an_error() -> None:
    process = start("print('ready', flush=True); import time; time.sleep(60)")
    with MemoryWatch(process.pid) as watch:
        time.sleep(0.2)
        end(process)
        time.sleep(0.2)
    assert watch.report.peak_bytes is not None
    with MemoryWatch(process.pid) as never:
        time.sleep(0.05)
    assert never.report.peak_bytes is None


def test_there_is_no_report_before_the_end() -> None:
    watch = MemoryWatch(os.getpid())
    with pytest.raises(RuntimeError, match="before its block ends"), watch:
        _ = watch.report


@pytest.mark.gpu
def test_gpu_memory_and_power_are_seen() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    with MemoryWatch(os.getpid()) as watch:
        held = torch.empty(256 * MEBIBYTE, dtype=torch.uint8, device="cuda").fill_(1)
        time.sleep(0.3)
        assert held.is_cuda
    assert watch.report.peak_gpu_bytes is not None
    assert watch.report.peak_gpu_bytes > 256 * MEBIBYTE
    assert watch.report.mean_gpu_watts is None or watch.report.mean_gpu_watts > 1
