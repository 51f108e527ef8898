"""One process of several that recover a pico together: `torchrun worker.py TEACHER NARROW WORK OUT [HOW]`.

HOW is "shard", or "shard-killed": then the first process kills itself in the middle.
"""

import os
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from dotresize.compress.weights.source import open_model
from dotresize.recover.ask.batches import Source, read_texts
from dotresize.recover.ask.config import RecoverConfig
from dotresize.recover.models.load import load
from dotresize.recover.run import recover
from dotresize.recover.training.setup import prepare

STEPS = 4


def main() -> None:
    how = sys.argv[5] if len(sys.argv) > 5 else ""
    teacher, narrow, work, out = (Path(argument) for argument in sys.argv[1:5])
    config = RecoverConfig(
        text=("own",),
        tokens=1,
        window_tokens=32,
        learning_rate=3e-3,
        evaluations=4,
        precision="float32",
        device="cpu",
        shard=how.startswith("shard"),
        save_minutes=0.0,
    )
    windows = torch.load(work.parent / "windows.pt", weights_only=True)
    texts = read_texts([Source("own", 1.0, windows)], config, needed=None)
    opened, original = open_model(str(narrow)), open_model(str(teacher))
    start, taught = load(opened, config, torch.float32), load(original, config, torch.float32)
    setup = prepare(start, taught, config, fresh=lambda: opened.load().model)

    def say(line: str) -> None:
        if how == "shard-killed" and line.startswith("step 3:"):
            os.kill(os.getpid(), signal.SIGKILL)

    outcome = recover(setup, texts, work, steps=STEPS, say=say)
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        save_file({name: value.contiguous() for name, value in outcome.model.state_dict().items()}, out)


if __name__ == "__main__":
    main()
