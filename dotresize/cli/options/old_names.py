"""What options were called up to 0.1: hidden, working, and one line on stderr; gone in the next release."""

from collections.abc import Callable
from typing import NamedTuple

__all__ = ["OldName", "old_names_of"]


def _same(value: str) -> str:
    return value


def _fractions(value: str) -> str:
    """Fractions stay fractions: a 1 would be read as a width of one."""
    return ",".join(f"{part}.0" if part.strip().isdigit() else part for part in value.split(","))


class OldName(NamedTuple):
    """Where a value goes."""

    option: str  # what it is called now
    changed: Callable[[str], str] = _same  # what was typed -> what means the same today


_EVERYWHERE = {
    "--width": OldName("--hidden-size", _fractions),
    "--hidden": OldName("--hidden-size", _fractions),
    "--mlp-width": OldName("--intermediate-size", _fractions),
    "--mlp": OldName("--intermediate-size", _fractions),
    "--methods": OldName("--method"),
    "--data": OldName("--evaluation"),
    "--windows": OldName("--evaluation-windows"),
    "--precision": OldName("--dtype"),
    "--type": OldName("--dtype"),
    "--task-limit": OldName("--limit"),
    "--warmup": OldName("--warmup-steps"),
}
_COMMANDS = {  # which command had which
    "compress": ("--width", "--mlp-width"),
    "sweep": ("--hidden", "--mlp", "--methods", "--data", "--windows", "--precision"),
    "bench": ("--data", "--windows", "--precision", "--task-limit"),
    "perplexity": ("--data", "--windows"),
    "recover": ("--precision", "--warmup"),
    "onnx": ("--precision",),
    "gguf": ("--type",),
}
_ELSEWHERE = {("sweep", "--precision"): OldName("--bench-dtype")}


def old_names_of(command: str) -> dict[str, OldName]:
    """Old name -> what it stands for, of one command."""
    return {old: _ELSEWHERE.get((command, old), _EVERYWHERE[old]) for old in _COMMANDS.get(command, ())}
