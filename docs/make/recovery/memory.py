"""How much memory a recovery takes beside what was predicted, on this machine's CPU.

    python -m docs.make.recovery.memory NARROW [--teacher MODEL]

For each way of training and some windows at once, a process of its own sets up, predicts, and takes a step of
the real loop with its evaluations; the kernel says how much it had at its fullest, counted from after both
models were read. Prints a table for docs/LOG.md.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

CASES = [(train, windows) for train in ("all", "lora", "norms") for windows in (1, 4)]
WINDOW_TOKENS = 512


def main() -> None:
    """Print the table, or, for a child, measure one case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("narrow")
    parser.add_argument("--teacher", default="demo:smollm2-135m")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        _say(json.dumps(measure(arguments.narrow, arguments.teacher, *arguments.case)))
        return
    _say("| trained | windows | predicted GB | measured GB | ratio |")
    _say("|---|---|---|---|---|")
    for train, windows in CASES:
        command = [sys.executable, "-m", "docs.make.recovery.memory", arguments.narrow]
        command += ["--teacher", arguments.teacher, "--case", train, str(windows)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        predicted, measured = json.loads(done.stdout.splitlines()[-1])
        ratio = measured / predicted
        _say(f"| {train} | {windows} | {predicted / 1e9:.2f} | {measured / 1e9:.2f} | {ratio:.2f} |")


def measure(narrow: str, teacher: str, train: str, windows: str) -> tuple[int, int]:
    """Bytes that were predicted, and bytes at the fullest."""
    from dotresize.compress.weights.source import load_dense
    from dotresize.recover.ask.batches import Texts, stand_ins
    from dotresize.recover.ask.config import RecoverConfig
    from dotresize.recover.estimate import estimate
    from dotresize.recover.run import recover
    from dotresize.recover.training.setup import prepare

    config = RecoverConfig(
        text=("stand-ins",),
        tokens=2 * int(windows) * WINDOW_TOKENS,
        train=train,  # type: ignore[arg-type]  # of CASES
        batch_windows=int(windows),
        micro_windows=int(windows),
        window_tokens=WINDOW_TOKENS,
        evaluations=1,
        device="cpu",
    )
    start, taught = load_dense(narrow), load_dense(teacher)
    setup = prepare(start, taught, config, fresh=lambda: load_dense(narrow).model)
    del start, taught
    predicted = estimate(setup, texts=1).memory.total
    tokens = stand_ins(config, int(setup.student.config.vocab_size))
    Path("/proc/self/clear_refs").write_text("5")  # the fullest is counted anew from here
    with tempfile.TemporaryDirectory() as work:
        recover(setup, Texts(tokens, {"stand-ins": tokens[:1]}, ()), Path(work), 2)
    status = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = [int(line.split()[1]) for line in status if line.startswith("VmHWM")]
    return predicted, kilobytes * 1024


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
