"""The commands that cases run on damaged things, each as light as it can be."""

from collections.abc import Callable
from pathlib import Path

from .case import Attempt, Sandbox

__all__ = [
    "WINDOWS",
    "compress",
    "export_gguf",
    "export_vllm",
    "on_checkpoint",
    "on_foreign_model",
    "perplexity",
]

WIDTHS = (
    ("--intermediate-size", "0.5"),
    ("--hidden-size", "0.75"),
    ("--hidden-size", "48", "--intermediate-size", "48"),
    ("--intermediate-size", "0.5", "--mlp-method", "dot"),
    ("--hidden-size", "0.75", "--compensate", "none"),
)
WINDOWS = ("--window-tokens", "32", "--calibration-windows", "2")


def compress(
    box: Sandbox,
    model: str,
    *,
    damage: str,
    output: str = "out",
    calibration: str = "text.txt",
    evaluation: str = "",
) -> Attempt:
    evaluation = evaluation or box.rng.choice(["none", "none", "other.txt"])
    few = [] if evaluation == "none" else ["--evaluation-windows", "1"]
    return Attempt(
        arguments=[
            "compress", model, "-o", output, *box.rng.choice(WIDTHS), *WINDOWS,
            "--calibration", calibration, "--evaluation", evaluation, *few,
        ],
        damage=damage,
        model=model,
        output=output,
    )  # fmt: skip


def perplexity(model: str, *, damage: str, text: str = "text.txt") -> Attempt:
    few = ["--window-tokens", "32", "--evaluation-windows", "2", "--json"]
    return Attempt(arguments=["perplexity", model, "--evaluation", text, *few], damage=damage, model=model)


def info(path: str, *, damage: str) -> Attempt:
    return Attempt(arguments=["info", path], damage=damage)


def serve_plan(path: str, *, damage: str) -> Attempt:
    """Reads all that `serve` reads before it starts an engine."""
    return Attempt(arguments=["serve", path, "--dry-run"], damage=damage)


def export_gguf(model: str, *, damage: str, output: str = "out.gguf") -> Attempt:
    return Attempt(
        arguments=["export", "gguf", model, "-o", output, "--dtype", "f32"],
        damage=damage,
        model=model,
        output=output,
    )


def export_vllm(model: str, *, damage: str, output: str = "out") -> Attempt:
    return Attempt(
        arguments=["export", "vllm", model, "-o", output, "--dtype", "float32"],
        damage=damage,
        model=model,
        output=output,
    )


def verify(path: str, *, damage: str, runtime: str = "transformers", model: str | None = None) -> Attempt:
    record = f"{path}.dotresize" if Path(path).suffix == ".gguf" else path
    return Attempt(
        arguments=["verify", path, "--runtime", runtime],
        damage=damage,
        model=model,
        touched=[f"home/{record}/dotresize.json"],
        seconds=400,
    )


def on_foreign_model(box: Sandbox, model: str, damage: str) -> Attempt:
    """One of the commands that take any model, mostly the one that has most to lose."""
    chosen = box.rng.choices(["compress", "perplexity", "info", "serve"], [6, 2, 1, 1])[0]
    if chosen == "compress":
        return compress(box, model, damage=damage)
    if chosen == "perplexity":
        return perplexity(model, damage=damage)
    return (info if chosen == "info" else serve_plan)(model, damage=damage)


def on_checkpoint(box: Sandbox, model: str, damage: str) -> Attempt:
    """One of the commands that take what `dotresize compress` wrote."""
    chosen = box.rng.choices(["gguf", "vllm", "info", "serve", "foreign"], [3, 3, 1, 1, 1])[0]
    if chosen == "foreign":
        return on_foreign_model(box, model, damage)
    by_name: dict[str, Callable[..., Attempt]] = {
        "gguf": export_gguf,
        "vllm": export_vllm,
        "info": info,
        "serve": serve_plan,
    }
    return by_name[chosen](model, damage=damage)
