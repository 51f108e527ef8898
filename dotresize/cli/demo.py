"""`python -m dotresize.cli.demo`: the main job on a real model, as the commands that a user would type.

Narrows SmolLM2-135M-Instruct twice (hidden width only, MLP width only), verifies both in stock
transformers and vLLM, exports one to int4 ONNX and verifies that too, then prints perplexities on three
texts, and an answer of each model with its speed.
"""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console

from ..export.process.child import guarded

_GRACE_SECONDS = 10.0  # for a command to stop its own engines
_MODEL = "demo:smollm2-135m"
_OUT = Path("demo-out")
_HIDDEN, _MLP = _OUT / "hidden-0.875", _OUT / "mlp-0.75"
_INT4 = _OUT / "mlp-0.75-onnx-int4"
_FITS = ["--calibration-windows", "16", "--evaluation", "none", "--force"]  # measured together at the end
_PROMPT = "In one sentence, why is the sky blue?"
_ANSWER_TOKENS, _ROUNDS = 40, 3

COMMANDS: list[list[str]] = [
    ["compress", _MODEL, "-o", str(_HIDDEN), "--hidden-size", "0.875", *_FITS],
    ["compress", _MODEL, "-o", str(_MLP), "--intermediate-size", "0.75", *_FITS],
    ["verify", str(_HIDDEN)],
    ["verify", str(_MLP)],
    ["export", "onnx", str(_MLP), "-o", str(_INT4), "--dtype", "int4", "--force"],
    ["verify", str(_INT4)],
    ["perplexity", _MODEL, str(_HIDDEN), str(_MLP), "--evaluation-windows", "4"],
]


def main() -> None:
    """Run the commands; stop with the exit code of the first that fails."""
    console, started = Console(), perf_counter()
    for command in COMMANDS:
        console.print(f"\n[bold]$ dotresize {shlex.join(command)}[/]")
        run(command)
    console.print(f"\n[bold]{_PROMPT}[/]")
    for model, text, rate in _answers([_MODEL, str(_HIDDEN), str(_MLP)]):
        console.print(f"[bold]{model}[/] ({rate:.0f} tokens/s): {text}", highlight=False)
    console.print(
        f"Fastest of {_ROUNDS} rounds in turn, stock transformers; `make bench` measures with intervals."
    )
    console.print(
        f"\nDone in {(perf_counter() - started) / 60:.1f} minutes. The narrow models are in {_OUT}/."
    )


def run(arguments: Sequence[str]) -> None:
    """Run one `dotresize` command, which ends with this program; end with its exit code when it fails."""
    command = [sys.executable, "-m", "dotresize.cli", *arguments]
    with guarded(command, grace_seconds=_GRACE_SECONDS) as (watched, lifeline):
        code = subprocess.run(watched, check=False, pass_fds=(lifeline,)).returncode
    if code:
        sys.exit(code)


def _answers(models: list[str]) -> list[tuple[str, str, float]]:
    """Each model, its greedy answer, and tokens per second, through stock transformers."""
    from .printed.output import quiet_libraries

    quiet_libraries()
    from ..compress.weights.source import load_dense

    loaded = {model: load_dense(model) for model in models}
    found: dict[str, tuple[str, float]] = {model: ("", 0.0) for model in models}
    for _ in range(_ROUNDS):
        for model, dense in loaded.items():
            text, rate = _answer(dense)
            found[model] = (text, max(rate, found[model][1]))
    return [(model, *found[model]) for model in models]


def _answer(dense: Any) -> tuple[str, float]:
    prompt = dense.tokenizer.apply_chat_template(
        [{"role": "user", "content": _PROMPT}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    started = perf_counter()
    answer = dense.model.generate(**prompt, max_new_tokens=_ANSWER_TOKENS, do_sample=False)
    tokens = answer[0, prompt["input_ids"].shape[1] :]
    rate = len(tokens) / (perf_counter() - started)
    return str(dense.tokenizer.decode(tokens, skip_special_tokens=True)).strip(), rate


if __name__ == "__main__":
    main()
