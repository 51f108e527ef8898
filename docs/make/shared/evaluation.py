"""What makers share whose rows are models scored on the suite of texts: options, texts, child processes."""

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dotresize.bench.quality.scorers import open_scorer
from dotresize.bench.quality.text_quality import measure_texts, windows_of_texts
from dotresize.compress.record.progress import Progress
from dotresize.compress.text.calibration import Windows
from dotresize.compress.weights.source import DEMO_MODEL, load_dense
from dotresize.errors import DotresizeError
from dotresize.export.disk.model_files import is_onnx_directory

from ..domains.maker import WIKITEXT
from ..domains.suite import evaluation_files, left_out, write_domains
from .kept_dense import KeptDense

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from dotresize.bench.quality.perplexity import Scorer

__all__ = [
    "ChildError",
    "Evaluation",
    "Fitted",
    "Scored",
    "add_fitted_options",
    "add_options",
    "add_text_options",
    "dotresize",
    "evaluation_texts",
    "fitted",
    "say_failures",
    "write_page",
]

PAGES = Path(__file__).resolve().parents[2]
WINDOW_TOKENS = 1024


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What every row is scored on; a part of a maker's setting."""

    evaluation: dict[str, str]  # kind -> text
    evaluation_windows: int  # of each text at most
    evaluation_window_tokens: int

    def windows(self, tokenizer: "PreTrainedTokenizerBase") -> list[Windows]:
        """The windows of every text, for the tokenizer that all rows share."""
        return windows_of_texts(
            list(self.evaluation.values()),
            tokenizer,
            at_most=self.evaluation_windows,
            window_tokens=self.evaluation_window_tokens,
        )


@dataclass(frozen=True, kw_only=True)
class Fitted(Evaluation):
    """The setting of a page whose rows are fitted on one calibration."""

    model: str
    calibration: tuple[str, ...]
    calibration_windows: int
    window_tokens: int

    @property
    def options(self) -> list[str]:
        """The calibration as `compress`, `export` and `adapter` take it."""
        texts = [part for text in self.calibration for part in ("--calibration", text)]
        windows = ["--calibration-windows", str(self.calibration_windows)]
        return [*texts, *windows, "--window-tokens", str(self.window_tokens)]


class Scored:
    """Rows against the original, which is read for the first of them and stays in memory."""

    def __init__(self, model: str, evaluation: Evaluation, kept: Path, progress: Progress) -> None:
        """Read nothing yet.

        Args:
            model: the original, as `load_dense` takes it.
            evaluation: what rows are scored on.
            kept: where the original's answers are, or go.
            progress: told about every window.
        """
        self._model, self._evaluation, self._kept, self._progress = model, evaluation, kept, progress

    @cached_property
    def _original(self) -> tuple[KeptDense, list[Windows]]:
        dense = load_dense(self._model)
        dense.model.float()
        return KeptDense(dense, self._kept), self._evaluation.windows(dense.tokenizer)

    def against_original(self, path: Path) -> dict[str, Any]:
        """The record of `measure_texts` for a directory or a GGUF file.

        Weights are scored in float32, an ONNX export by ONNX Runtime itself, which rounds what it rounds.

        Raises:
            DotresizeError: the model cannot be read.
        """
        kind = "onnx" if is_onnx_directory(path) else "huggingface"
        return self.of_model(open_scorer(path, kind, device=torch.device("cpu"), dtype="float32"))

    def of_model(self, model: "PreTrainedModel | Scorer") -> dict[str, Any]:
        """The record of `measure_texts` for a model in memory."""
        original, texts = self._original
        return measure_texts({"dense": original, "narrow": model}, texts, progress=self._progress)


class ChildError(DotresizeError):
    """A command of ours failed in its process; the message is its last line."""


def add_options(parser: ArgumentParser, *, builds: str, page: str) -> None:
    """The options of texts, of models that stay, and of the page."""
    add_text_options(parser)
    parser.add_argument("--builds", type=Path, default=Path(builds))
    parser.add_argument("-o", type=Path, default=PAGES / page)


def add_text_options(parser: ArgumentParser) -> None:
    """The options of what is evaluated on."""
    parser.add_argument("--domains", type=Path, default=Path("build/domains"))
    parser.add_argument("--wikitext", type=Path, default=WIKITEXT)
    parser.add_argument("--evaluation-windows", type=int, default=2)


def add_fitted_options(parser: ArgumentParser) -> None:
    """The options of `fitted`: the original and the calibration."""
    parser.add_argument("--model", default=DEMO_MODEL, help="the original")
    parser.add_argument("--calibration", action="append", help="default: builtin")
    parser.add_argument("--calibration-windows", type=int, default=32)
    parser.add_argument("--window-tokens", type=int, default=512)


def fitted(arguments: Namespace, progress: Progress) -> Fitted:
    """The setting of the options of `add_options` and `add_fitted_options`; the suite is written."""
    return Fitted(
        model=arguments.model,
        calibration=tuple(arguments.calibration or ["builtin"]),
        calibration_windows=arguments.calibration_windows,
        window_tokens=arguments.window_tokens,
        evaluation=evaluation_texts(arguments, progress),
        evaluation_windows=arguments.evaluation_windows,
        evaluation_window_tokens=WINDOW_TOKENS,
    )


def say_failures(failed: Mapping[str, str]) -> None:
    """Name what failed, and why, on stderr."""
    for label, reason in failed.items():
        print(f"{label} failed: {reason}", file=sys.stderr)  # noqa: T201


def evaluation_texts(arguments: Namespace, progress: Progress) -> dict[str, str]:
    """Write the suite; kind -> file. What could not be had is named on stderr."""
    for line in left_out(write_domains(arguments.domains, arguments.wikitext, progress)):
        print(line, file=sys.stderr)  # noqa: T201
    return {name: str(path) for name, path in evaluation_files(arguments.domains).items()}


def write_page(page: Path, text: str, plot: str) -> None:
    """The page and the plot beside it."""
    page.with_suffix(".svg").write_text(plot, encoding="utf-8")
    page.write_text(text, encoding="utf-8")
    print(f"written: {page}")  # noqa: T201


def dotresize(arguments: list[str]) -> None:
    """Run a command of ours in a process of its own, whose memory is free afterwards.

    Raises:
        ChildError: it failed; what it said last, or the signal that ended it.
    """
    command, last = [sys.executable, "-m", "dotresize", *arguments], ""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            sys.stderr.write(line)
            last = line.strip() or last
    if process.returncode < 0:
        raise ChildError(f"dotresize {arguments[0]} was ended by signal {-process.returncode}")
    if process.returncode:
        raise ChildError(last or f"dotresize {arguments[0]} ended with {process.returncode} and no word")
