"""`python -m dotresize.cli.demo`: the main job on a real model, as the commands that a user would type.

Narrows the MLP of SmolLM2-135M-Instruct by a tenth, which is what so small a model bears without training,
verifies the result in stock transformers and vLLM, exports it to int4 ONNX and verifies that too, then prints
perplexities on three texts, and answers of both models with their speed.
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
_NARROW, _INT4 = _OUT / "mlp-0.9", _OUT / "mlp-0.9-onnx-int4"
_FITS = ["--calibration-windows", "16", "--evaluation", "none", "--force"]  # measured together at the end
_PROMPTS = (
    "In one sentence, why is the sky blue?",
    "Explain in one sentence what a computer does.",
    "Write a Python function that returns the larger of two numbers.",
)
_ANSWER_TOKENS, _ROUNDS = 40, 3

COMMANDS: list[list[str]] = [
    ["compress", _MODEL, "-o", str(_NARROW), "--intermediate-size", "0.9", *_FITS],
    ["verify", str(_NARROW)],
    ["export", "onnx", str(_NARROW), "-o", str(_INT4), "--dtype", "int4", "--force"],
    ["verify", str(_INT4)],
    ["perplexity", _MODEL, str(_NARROW), "--evaluation-windows", "4"],
]


def main() -> None:
    """Run the commands; stop with the exit code of the first that fails."""
    console, started = Console(), perf_counter()
    for command in COMMANDS:
        console.print(f"\n[bold]$ dotresize {shlex.join(command)}[/]")
        run(command)
    _show_answers(console, [_MODEL, str(_NARROW)])
    console.print(
        f"\nDone in {(perf_counter() - started) / 60:.1f} minutes. The narrow model is in {_NARROW}/, the "
        f"ONNX export in {_INT4}/."
    )


def run(arguments: Sequence[str]) -> None:
    """Run one `dotresize` command, which ends with this program; end with its exit code when it fails."""
    command = [sys.executable, "-m", "dotresize.cli", *arguments]
    with guarded(command, grace_seconds=_GRACE_SECONDS) as (watched, lifeline):
        code = subprocess.run(watched, check=False, pass_fds=(lifeline,)).returncode
    if code:
        sys.exit(code)


def _show_answers(console: Console, models: list[str]) -> None:
    """Greedy answers through stock transformers, the models in turn, and the range of their speeds."""
    from .printed.output import quiet_libraries

    quiet_libraries()
    from ..compress.weights.source import load_dense

    loaded = {model: load_dense(model) for model in models}
    rates: dict[str, list[float]] = {model: [] for model in models}
    for prompt in _PROMPTS:
        console.print(f"\n[bold]{prompt}[/]")
        for number in range(_ROUNDS):
            for model, dense in loaded.items():
                text, rate = _answer(dense, prompt)
                rates[model].append(rate)
                if number == 0:
                    console.print(f"[bold]{model}[/]: {text}", highlight=False)
    spans = ", ".join(f"{model} {min(found):.0f} to {max(found):.0f}" for model, found in rates.items())
    console.print(
        f"\nTokens per second in stock transformers, least and most of {_ROUNDS * len(_PROMPTS)} "
        f"answers in turn: {spans}. `make bench` measures with intervals.",
        highlight=False,
    )


def _answer(dense: Any, prompt: str) -> tuple[str, float]:
    """What a model says, at most `_ANSWER_TOKENS` long, and its tokens per second."""
    asked = dense.tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    started = perf_counter()
    answer = dense.model.generate(**asked, max_new_tokens=_ANSWER_TOKENS, do_sample=False)
    tokens = answer[0, asked["input_ids"].shape[1] :]
    rate = len(tokens) / (perf_counter() - started)
    return str(dense.tokenizer.decode(tokens, skip_special_tokens=True)).strip(), rate


if __name__ == "__main__":
    main()
