"""Damaged inputs against the public commands: `python -m tests.hostile` from the repository.

    python -m tests.hostile                     all cases, with a report by kind; goes on where it stopped
    python -m tests.hostile --share 0.05        the first twentieth of every kind
    python -m tests.hostile --only config:17    one case, with the traceback of what went wrong
    python -m tests.hostile --kinds gguf texts  some kinds

Exit code 1 when any case is a failure: a foreign exception, success with wrong weights, a changed file of the
user's, something left behind, a hang or a crash.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from dotresize.locks import acquire

from . import bases
from .case import Case
from .damage import (
    configs,
    containers,
    ggufs,
    kept,
    manifests,
    options,
    outputs,
    plans,
    reports,
    tensors,
    texts,
    tokenizers,
)
from .judge import FAILURES
from .processes import fork, read_text
from .report import render
from .runner import Outcome, run_case, warm_up

ROOT = Path(__file__).resolve().parents[2]
KINDS = {
    "config": (configs, 400),
    "tensor": (tensors, 340),
    "container": (containers, 320),
    "gguf": (ggufs, 200),
    "tokenizer": (tokenizers, 200),
    "manifest": (manifests, 200),
    "text": (texts, 160),
    "output": (outputs, 180),
    "option": (options, 200),
    "report": (reports, 60),
    "kept": (kept, 40),
    "plan": (plans, 80),
}


def main() -> None:
    """Run what was asked for, then print the report."""
    arguments = _parse()
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    os.environ.pop("DOTRESIZE_DEBUG", None)
    folder: Path = arguments.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    acquire(folder / "lock", what=str(folder))
    cases = [Case.parse(text) for text in arguments.only] or _cases(arguments.kinds, arguments.share)
    results = folder / f"outcomes-{_revision()}.jsonl"
    if arguments.fresh or arguments.only:
        results.unlink(missing_ok=True)
    done = _read(results)
    missing = [case for case in cases if str(case) not in done]
    warm_up()
    build_bases({base for case in missing for base in KINDS[case.kind][0].BASES}, folder)
    _run(missing, folder, results, arguments.workers)
    done = _read(results)
    outcomes = [done[str(case)] for case in cases]
    text = render(outcomes, traces=arguments.traces or bool(arguments.only))
    (folder / "report.md").write_text(text)
    sys.stdout.write(text)
    sys.exit(any(outcome.verdict in FAILURES for outcome in outcomes))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Damaged inputs against the public commands.")
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--share", type=float, default=1.0, help="of every kind's cases")
    parser.add_argument("--only", nargs="*", default=[], metavar="KIND:SEED")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "hostile")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--fresh", action="store_true", help="run again what was run on this revision")
    parser.add_argument("--traces", action="store_true", help="with tracebacks")
    return parser.parse_args()


def _cases(kinds: Sequence[str], share: float) -> list[Case]:
    return [
        Case(kind=kind, seed=seed) for kind in kinds for seed in range(max(1, round(KINDS[kind][1] * share)))
    ]


def _run(cases: Sequence[Case], folder: Path, results: Path, workers: int) -> None:
    """Share the cases out to forked workers, each of which appends to the results as it goes."""

    def work(number: int) -> int:
        for case in cases[number::workers]:
            outcome = run_case(case, KINDS[case.kind][0].damage, folder)
            with results.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(outcome)) + "\n")
            if sys.stderr.isatty() or outcome.verdict in FAILURES:
                sys.stderr.write(f"{case} {outcome.verdict}: {outcome.reason[:150]!a}\n")
        return 0

    places = [folder / f"worker-{number}" for number in range(workers)]
    started = []
    for number, place in enumerate(places):
        place.mkdir(exist_ok=True)
        started.append(fork(partial(work, number), folder=place, mark=place.name))
    for process, place in zip(started, places, strict=True):
        if os.waitpid(process, 0)[1]:
            raise SystemExit(f"{place.name} failed: {read_text(place / 'stderr')[-3000:]}")


def build_bases(names: set[str], folder: Path) -> None:
    """Make the models that are missing in `folder`/bases, in a process of its own."""
    place = folder / "making"
    place.mkdir(exist_ok=True)

    def make() -> int:
        bases.build(names, folder / "bases")
        return 0

    if os.waitpid(fork(make, folder=place, mark="bases"), 0)[1]:
        raise SystemExit(f"the models to damage could not be made: {read_text(place / 'stderr')[-3000:]}")


def _read(results: Path) -> dict[str, Outcome]:
    if not results.is_file():
        return {}
    outcomes = [Outcome(**json.loads(line)) for line in results.read_text(encoding="utf-8").splitlines()]
    return {outcome.case: outcome for outcome in outcomes}


def _revision() -> str:
    """A hash of all that decides outcomes: the package and this folder."""
    digest = hashlib.sha256()
    for folder in ("dotresize", "compress", "export", "serve", "bench", "tests/hostile"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


if __name__ == "__main__":
    main()
