"""`python -m dotresize.cli.demo`: the main job on a real model, as the commands that a user would type.

Narrows SmolLM2-135M-Instruct twice (hidden width only, MLP width only), verifies both in stock
transformers and vLLM, exports one to int4 ONNX and verifies that too, then prints perplexities and one
generated sentence of each side by side.
"""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console

from ..export.child import guarded

_GRACE_SECONDS = 10.0  # for a command to stop its own engines
_MODEL = "demo:smollm2-135m"
_OUT = Path("demo-out")
_HIDDEN, _MLP = _OUT / "hidden-0.875", _OUT / "mlp-0.75"
_INT4 = _OUT / "mlp-0.75-onnx-int4"
_FITS = ["--calibration-windows", "16", "--force"]
_PROMPT = "In one sentence, why is the sky blue?"

COMMANDS: list[list[str]] = [
    ["compress", _MODEL, "-o", str(_HIDDEN), "--hidden-size", "0.875", *_FITS],
    ["compress", _MODEL, "-o", str(_MLP), "--intermediate-size", "0.75", *_FITS],
    ["verify", str(_HIDDEN)],
    ["verify", str(_MLP)],
    ["export", "onnx", str(_MLP), "-o", str(_INT4), "--dtype", "int4", "--force"],
    ["verify", str(_INT4)],
    ["perplexity", _MODEL, str(_HIDDEN), str(_MLP)],
]


def main() -> None:
    """Run the commands; stop with the exit code of the first that fails."""
    console, started = Console(), perf_counter()
    for command in COMMANDS:
        console.print(f"\n[bold]$ dotresize {shlex.join(command)}[/]")
        run(command)
    console.print(f"\n[bold]{_PROMPT}[/]")
    for model in (_MODEL, str(_HIDDEN), str(_MLP)):
        console.print(f"[bold]{model}:[/] {_sentence(model)}", highlight=False)
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


def _sentence(model: str) -> str:
    """A greedy answer of at most 40 tokens, through stock transformers."""
    from .output import quiet_libraries

    quiet_libraries()
    from ..compress.source import load_dense

    loaded = load_dense(model)
    prompt: Any = loaded.tokenizer.apply_chat_template(
        [{"role": "user", "content": _PROMPT}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    generate: Any = loaded.model.generate
    tokens = generate(**prompt, max_new_tokens=40, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    return str(loaded.tokenizer.decode(tokens, skip_special_tokens=True)).strip()


if __name__ == "__main__":
    main()
