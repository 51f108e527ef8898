"""Kills at random moments: `python -m tests.hostile.faults` from the repository.

    python -m tests.hostile.faults                  200 kills of compress, export gguf, export onnx and bench
    python -m tests.hostile.faults --kills 5 --commands compress gguf

A command on picos is killed by SIGKILL, half of the time right before a random one of its operations on
files, else after a random time; every fourth is killed again while it resumes. Then the same command runs
undisturbed. Exit code 1 unless it writes what a run without kills writes, leaves nothing beside it, no
process outlives the kill, and no file of the user's has changed at any moment.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from dotresize.locks import acquire

from .__main__ import ROOT, build_bases
from .command import run
from .fault_commands import COMMANDS, Command
from .processes import alive, finish, fork, read_text
from .runner import warm_up
from .tree import changes, snapshot

FILE_EVENTS = frozenset(
    ["open", "os.link", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "shutil.rmtree"]
)
MEASURED = frozenset(["dotresize.json", "README.md"])  # what a measurement adds to
UNMEASURED = "unmeasured"  # no loss: the weights are whole, `dotresize perplexity` measures them
END_SECONDS = 5.0  # within which children end with their parent
RUN_SECONDS = 400


@dataclass(kw_only=True)
class Undisturbed:
    """What a run without kills does."""

    tree: dict[str, str]  # the working directory afterwards
    seconds: float
    events: int  # operations on files


@dataclass(kw_only=True)
class Losses:
    """What went wrong, by kind, with what reproduces it."""

    kills: Counter[str] = field(default_factory=Counter)
    found: list[tuple[str, str, str]] = field(default_factory=list)  # command and seed, kind, reason


def main() -> None:
    """Kill as often as asked for, then print the report."""
    parser = argparse.ArgumentParser(description="Kills at random moments.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--commands", nargs="*", choices=list(COMMANDS), default=list(COMMANDS))
    parser.add_argument("--only", default="", metavar="COMMAND:SEED")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "faults")
    arguments = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    folder: Path = arguments.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    acquire(folder / "lock", what=str(folder))
    shutil.rmtree(folder / "wrong", ignore_errors=True)
    warm_up()
    losses, only = Losses(), arguments.only.partition(":")
    names = [only[0]] if arguments.only else arguments.commands
    build_bases({model for name in names for model in (*COMMANDS[name].models, "narrow")}, folder)
    total = sum(COMMANDS[name].share for name in names)
    for name in names:
        clean = _undisturbed(COMMANDS[name], folder)
        count = max(1, round(arguments.kills * COMMANDS[name].share / total))
        for seed in [int(only[2])] if arguments.only else range(count):
            _try(name, seed, clean, folder, losses)
            said = f"{name} {seed + 1} of {count}, killed {losses.kills[name]}, wrong {len(losses.found)}"
            sys.stderr.write(f"\r{said}\x1b[K")
        sys.stderr.write("\n")
    text = _render(losses)
    (folder / "report.md").write_text(text)
    sys.stdout.write(text)
    sys.exit(any(kind != UNMEASURED for _, kind, _ in losses.found))


def _furnish(command: Command, folder: Path) -> Path:
    """A fresh working directory."""
    place = folder / "place"
    shutil.rmtree(place, ignore_errors=True)
    home = place / "home"
    (home / "precious").mkdir(parents=True)
    (place / "tmp").mkdir()
    (home / "precious" / "thesis.txt").write_text("three years of work\n")
    shutil.copyfile(folder / "bases" / "text.txt", home / "text.txt")
    (home / "other.txt").write_text(read_text(home / "text.txt").replace("better", "other"))
    for model in command.models:
        shutil.copytree(folder / "bases" / model, home / model)
    if command.earlier:
        shutil.copytree(folder / "bases" / command.earlier, home / command.output)
    return place


def _run(command: Command, place: Path, kill_at: int | None = None) -> int:
    """Start the command; `kill_at` counts operations on files from 1."""

    def work() -> int:
        os.chdir(place / "home")
        os.environ["TMPDIR"] = str(place / "tmp")
        if command.shard_bytes is not None:
            _limit_shards(command.shard_bytes)
        events = _count_events(place, kill_at)
        code = run(*command.arguments)
        (place / "events").write_text(str(events[0]))
        return code

    return fork(work, folder=place, mark="fault")


def _limit_shards(size_bytes: int) -> None:
    """Let this process write a checkpoint as it writes one of many gigabytes."""
    from dotresize.export.checkpoint.stream import compress_to

    assert compress_to.__kwdefaults__ is not None
    compress_to.__kwdefaults__["max_shard_bytes"] = size_bytes


def _count_events(place: Path, kill_at: int | None) -> list[int]:
    """A counter of this process' operations on files below `place`; it kills the process at the given one."""
    events, below, process = [0], str(place / "home"), os.getpid()

    def watch(event: str, values: tuple[object, ...]) -> None:
        if event not in FILE_EVENTS or os.getpid() != process or not _writes(event, values, below):
            return
        events[0] += 1
        if events[0] == kill_at:
            os.kill(process, signal.SIGKILL)

    sys.addaudithook(watch)
    return events


def _writes(event: str, values: tuple[object, ...], below: str) -> bool:
    """Whether the operation may change something in the working directory."""
    if event == "open" and not (isinstance(values[2], int) and values[2] & (os.O_WRONLY | os.O_RDWR)):
        return False
    path = values[0]
    return isinstance(path, str | os.PathLike) and str(Path(path).absolute()).startswith(below)


def _undisturbed(command: Command, folder: Path) -> Undisturbed:
    place = _furnish(command, folder)
    started = time.monotonic()
    status = finish(_run(command, place), lambda: RUN_SECONDS, place)
    assert status == 0, f"undisturbed, it failed: {read_text(place / 'stderr')[-2000:]}"
    shutil.rmtree(folder / "undisturbed", ignore_errors=True)
    shutil.copytree(place, folder / "undisturbed")
    return Undisturbed(
        tree=snapshot(place / "home"),
        seconds=time.monotonic() - started,
        events=int((place / "events").read_text()),
    )


def _try(name: str, seed: int, clean: Undisturbed, folder: Path, losses: Losses) -> None:
    """Kill once or twice, repeat, compare."""
    rng, command = random.Random(f"fault {name} {seed}"), COMMANDS[name]  # noqa: S311
    place = _furnish(command, folder)
    before, case = snapshot(place / "home"), f"{name}:{seed}"
    for _ in range(2 if seed % 4 == 3 else 1):
        if _kill(command, place, clean, rng):
            losses.kills[name] += 1
        losses.found += [(case, kind, reason) for kind, reason in _after_kill(command, place, before)]
    status = finish(_run(command, place), lambda: RUN_SECONDS, place)
    wrong = _after_repeat(command, place, clean, status)
    if any(kind != UNMEASURED for kind, _ in wrong):
        shutil.copytree(place, folder / "wrong" / case, dirs_exist_ok=True)  # to be looked at
    losses.found += [(case, kind, reason) for kind, reason in wrong]


def _kill(command: Command, place: Path, clean: Undisturbed, rng: random.Random) -> bool:
    """Whether it was killed before it had finished."""
    if rng.random() < 0.5 and clean.events:
        process = _run(command, place, kill_at=rng.randint(1, clean.events))
        status = finish(process, lambda: RUN_SECONDS, place)
    else:
        process = _run(command, place)
        time.sleep(rng.uniform(0, clean.seconds))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
    return status is None or os.WIFSIGNALED(status)


def _after_kill(command: Command, place: Path, before: dict[str, str]) -> list[tuple[str, str]]:
    """What is wrong while nothing runs."""
    found = [("process alive", each) for each in alive("fault", place, within_seconds=END_SECONDS)]
    after = snapshot(place / "home")
    if altered := changes(before, after, altering=[command.output]).altered:
        found.append(("damaged", f"changed or gone: {', '.join(altered[:3])}"))
    if command.earlier and command.output not in after and not any(".old" in path for path in after):
        found.append(("damaged", "neither the earlier output nor the new one is there"))
    return found


def _after_repeat(
    command: Command, place: Path, clean: Undisturbed, status: int | None
) -> list[tuple[str, str]]:
    """What is wrong after the undisturbed repetition."""
    after = snapshot(place / "home")
    altered, added = changes(clean.tree, after, altering=command.varies)
    if status != 0 and not command.varies and not altered and not added:
        return []  # it had finished when the kill came, and says so
    if status != 0 and not added and {Path(path).name for path in altered} <= MEASURED:
        return [(UNMEASURED, "written, then killed while its perplexity was measured; the repeat says so")]
    if status != 0:
        ending = "took too long" if status is None else read_text(place / "stderr").strip()[-300:]
        return [("lost", f"the same command does not go on: {ending}")]
    gone = [path for path in command.varies if path not in after]
    found = [("lost", f"other bytes or gone: {', '.join(each[:3])}") for each in (altered, gone) if each]
    if added:
        found.append(("left over", ", ".join(added[:3])))
    if command.varies and (missing := clean.tree.keys() - after.keys()):
        found.append(("lost", f"not written: {', '.join(sorted(missing)[:3])}"))
    if command.varies and (extra := sorted(after.keys() - clean.tree.keys())):
        found.append(("left over", ", ".join(extra[:3])))
    found += [("process alive", each) for each in alive("fault", place, within_seconds=END_SECONDS)]
    return found


def _render(losses: Losses) -> str:
    kinds = ("lost", "damaged", "left over", "process alive", UNMEASURED)
    lines = ["| command | kills | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 2) + "|"]
    counts = Counter((case.partition(":")[0], kind) for case, kind, _ in losses.found)
    for name, kills in losses.kills.items():
        lines.append(f"| {name} | {kills} | " + " | ".join(str(counts[name, kind]) for kind in kinds) + " |")
    total = [str(sum(counts[name, kind] for name in COMMANDS)) for kind in kinds]
    lines.append(f"| all | {losses.kills.total()} | " + " | ".join(total) + " |")
    for case, kind, reason in (each for each in losses.found if each[1] != UNMEASURED):
        lines += ["", f"* {kind}: {reason}; kept in wrong/{case}"]
        lines.append(f"  again: python -m tests.hostile.faults --only {case}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
