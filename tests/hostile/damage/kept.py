"""A compression that was killed in the middle, whose kept layers are damaged before it is repeated."""

import os
import signal
import sys
from pathlib import Path

from ...fork_end import leave_with
from ..case import Attempt, Sandbox
from ..command import run
from ..operations import WINDOWS
from ..tree import snapshot
from .json_damage import damage_file

__all__ = ["BASES", "damage"]

BASES = ("mistral",)
ARGUMENTS = (
    "compress", "mistral", "-o", "out", "--hidden-size", "0.75", "--intermediate-size", "0.5", *WINDOWS,
    "--calibration", "text.txt", "--evaluation", "none",
)  # fmt: skip


def damage(box: Sandbox) -> Attempt:
    box.copy("mistral", "mistral")
    _undisturbed(box)
    before = set(snapshot(box.root))
    _killed_after(2)
    kept = [box.root / path for path in snapshot(box.root) if path not in before]
    files = sorted(path for path in kept if path.is_file() and path.stat().st_size)
    what = "nothing was kept"
    if files:
        what = _damage(box.rng.choice(files), box)
    places = sorted({os.path.relpath(path, box.root) for path in kept})
    return Attempt(
        arguments=ARGUMENTS,
        damage=what,
        model="mistral",
        output="out",
        touched=places,
        gone=places,
        must_equal="undisturbed",
    )


def _damage(path: Path, box: Sandbox) -> str:
    """One kept file as a whole, or two of them exchanged."""
    others = [each for each in path.parent.iterdir() if each.suffix == path.suffix and each != path]
    if others and box.rng.random() < 0.3:
        other = box.rng.choice(others)
        content = path.read_bytes()
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
        return f"{path.name} and {other.name} exchanged"
    return damage_file(path, box.rng)


def _undisturbed(box: Sandbox) -> None:
    """What the command writes when nothing happens to it, beside the home directory."""
    os.chdir(box.home)
    process = os.fork()
    if process == 0:
        leave_with(lambda: run(*ARGUMENTS))
    assert os.waitpid(process, 0)[1] == 0, "the undisturbed run failed"
    (box.home / "out").rename(box.root.parent / "undisturbed")


def _killed_after(files: int) -> None:
    """Run the command and kill it by SIGKILL when that many kept files have come into place."""
    process = os.fork()
    if process == 0:
        seen = 0

        def watch(event: str, values: tuple[object, ...]) -> None:
            nonlocal seen
            if event == "os.rename" and str(values[1]).endswith(".safetensors"):
                seen += 1
                if seen > files:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        leave_with(lambda: run(*ARGUMENTS))
    os.waitpid(process, 0)
