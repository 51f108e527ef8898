"""Teach a narrow model what narrowing lost: a few steps of distillation from its original.

python examples/recover.py narrow demo:smollm2-135m recovered
"""

import sys
from pathlib import Path

import dotresize


def main(narrow: str, original: str, output: Path, *texts: str) -> None:
    """Train the layers on a few thousand tokens; real runs take millions."""
    config = dotresize.RecoverConfig(
        text=texts or ("builtin",),
        tokens=4096,
        window_tokens=128,
        batch_windows=4,
        held_out_windows=2,
        train="layers",
    )
    done = dotresize.recover(narrow, original, output, config, say=print)
    assert done.record is not None  # of the only process
    recovery = done.record.recovery
    assert recovery is not None  # that is what was asked for
    start = recovery.curve[0].held_out_kl
    best = next(point for point in recovery.curve if point.step == recovery.best_step).held_out_kl
    for text, before in start.items():
        print(f"{text}: KL to the original {before:.4f} -> {best[text]:.4f} nats per token")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), *sys.argv[4:])
