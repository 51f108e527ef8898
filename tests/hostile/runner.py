"""Run one case in processes of its own, forked from one that has imported everything and computed nothing.

The first process damages a sandbox and runs the command, the second looks for lies when it succeeded. Both
are bounded in time and memory, and whatever they started is looked for afterwards.
"""

import importlib
import json
import os
import random
import resource
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from . import truth
from .case import Attempt, Case, Damage, Sandbox
from .command import run
from .judge import Ending, judge
from .processes import Recorded, alive, finish, fork, read_text
from .tree import snapshot

__all__ = ["Outcome", "run_case", "warm_up"]

IMPORTS = (
    "gguf", "pyarrow.parquet", "pydantic", "PIL.Image", "transformers.modeling_gguf_pytorch_utils",
    "transformers.models.llama.modeling_llama", "transformers.models.mistral.modeling_mistral",
    "transformers.models.auto.tokenization_auto", "transformers.tokenization_utils_tokenizers",
    "dotresize.cli.printed.tables", "dotresize.cli.printed.progress", "dotresize.compress.run",
    "dotresize.bench.quality.perplexity", "dotresize.bench.run", "dotresize.bench.judge.compare",
    "dotresize.export.checkpoint.write",
    "dotresize.export.for_gguf.to_gguf", "dotresize.export.for_vllm.to_vllm",
    "dotresize.export.to_onnx", "dotresize.export.proof.verify",
    "dotresize.serve.endpoint",
)  # fmt: skip
MEMORY_BYTES = 10 * 2**30  # of addresses, on top of what the imports take
UNKNOWN_SECONDS = 120  # while the damaging is not done
TRUTH_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a report says about one case."""

    case: str
    command: list[str]
    damage: str
    verdict: str
    reason: str
    trace: str  # of a foreign exception or a hang


def warm_up() -> None:
    """Import what commands import, so that forked processes start at once; nothing may compute here."""
    for name in IMPORTS:
        importlib.import_module(name)


def run_case(case: Case, damage: Damage, folder: Path) -> Outcome:
    """Damage, run, look, judge.

    Args:
        case: Its seed decides everything.
        damage: Of the case's kind.
        folder: Holds `bases`; the case is gone from it afterwards.
    """
    place = folder / "cases" / str(case).replace(":", "-")
    shutil.rmtree(place, ignore_errors=True)
    (place / "sandbox").mkdir(parents=True)
    (place / "tmp").mkdir()
    rng = random.Random(f"dotresize {case}")  # noqa: S311
    box = Sandbox(root=place / "sandbox", bases=folder / "bases", rng=rng)
    process = fork(lambda: _damage_and_run(box, damage, place), folder=place, mark=str(case))
    status = finish(process, lambda: _seconds(place), place)
    attempt, before = _prepared(place)
    ending = _ending(attempt, place, status, before, str(case))
    verdict, reason = judge(attempt, ending)
    trace = read_text(place / "trace") if verdict in ("foreign", "hang") else ""
    shutil.rmtree(place)
    return Outcome(
        case=str(case),
        command=list(attempt.arguments),
        damage=attempt.damage,
        verdict=verdict,
        reason=reason,
        trace=trace[-3000:],
    )


def _damage_and_run(box: Sandbox, damage: Damage, place: Path) -> int:
    box.furnish()
    attempt = damage(box)
    before = snapshot(box.root)
    unfinished = place / "attempt.tmp"
    unfinished.write_text(json.dumps([asdict(attempt), before]))
    unfinished.rename(place / "attempt.json")  # whoever waits for this process reads it meanwhile
    os.chdir(box.home)
    os.environ["TMPDIR"] = str(place / "tmp")
    resource.setrlimit(resource.RLIMIT_AS, (_address_bytes() + MEMORY_BYTES,) * 2)
    with Recorded(place):
        return run(*attempt.arguments)


def _seconds(place: Path) -> float:
    prepared = (place / "attempt.json").is_file()
    return _prepared(place)[0].seconds if prepared else UNKNOWN_SECONDS


def _prepared(place: Path) -> tuple[Attempt, dict[str, str]]:
    if not (place / "attempt.json").is_file():
        raise RuntimeError(f"the case itself is broken: {read_text(place / 'stderr')[-2000:]}")
    fields, before = json.loads((place / "attempt.json").read_text())
    return Attempt(**fields), before


def _ending(attempt: Attempt, place: Path, status: int | None, before: dict[str, str], mark: str) -> Ending:
    root = place / "sandbox"
    stderr, left = read_text(place / "stderr"), alive(mark, place, within_seconds=2)
    after = snapshot(root)
    code = signal = None
    if status is not None:
        exited = os.waitstatus_to_exitcode(status)
        code, signal = (exited, None) if exited >= 0 else (-1, -exited)
    lies: list[str] = []
    record = f"home/{attempt.output}/dotresize.json"  # of an output that was written, then not measured
    written = record in after and record not in before
    if code == 0 or written:
        lies = [*_lies(attempt, root / "home", place), *_other_bytes(attempt, root / "home", place)]
    return Ending(
        code=code,
        signal=signal,
        stderr=stderr,
        escaped=read_text(place / "escaped"),
        lies=lies,
        alive=left,
        root=str(root),
        before=before,
        after=after,
    )


def _lies(attempt: Attempt, home: Path, place: Path) -> list[str]:
    """What truth.py finds, in a process of its own; that it cannot read what a command could is a lie too."""

    printed = read_text(place / "stdout")

    def look() -> int:
        os.chdir(home)
        model = None if attempt.model is None else Path(attempt.model)
        output = None if attempt.output is None else Path(attempt.output)
        lies = truth.find_lies(list(attempt.arguments), model, output, printed)
        (place / "lies.json").write_text(json.dumps(lies))
        return 0

    finish(fork(look, folder=place, mark="truth"), lambda: TRUTH_SECONDS, place)
    if not (place / "lies.json").is_file():
        return [f"what it read or wrote cannot be read again: {read_text(place / 'stderr').strip()[-300:]}"]
    lies: list[str] = json.loads((place / "lies.json").read_text())
    return lies


def _other_bytes(attempt: Attempt, home: Path, place: Path) -> list[str]:
    """Files of the output that an undisturbed run wrote otherwise."""
    if attempt.must_equal is None or attempt.output is None:
        return []
    expected, found = snapshot(place / attempt.must_equal), snapshot(home / attempt.output)
    names = sorted(path for path in expected | found if expected.get(path) != found.get(path))
    return [f"{name} differs from what an undisturbed run writes" for name in names]


def _address_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
