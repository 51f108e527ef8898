"""What happens beside the steps: scores on held-out windows, the best state kept, saves by the clock."""

import json
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ...compress.record.progress import Progress
from ...errors import ManifestError
from ...export.contract.recovery import CurvePoint
from ...json_files import read_json, validated
from .board import Board
from .held_out import score

__all__ = ["CURVE_NAME", "Curve", "Watch", "best_file", "best_state"]

CURVE_NAME = "curve.json"


@dataclass(kw_only=True)
class Curve:
    """All evaluations so far; the first is the start."""

    points: list[CurvePoint] = field(default_factory=list)
    best_step: int = 0

    def rewind(self, step: int) -> None:
        """Forget what came after a step: a run goes on from its last save, which may be older."""
        self.points = [point for point in self.points if point.step <= step]
        self.best_step = min(self.points, key=lambda point: point.score).step if self.points else 0

    @property
    def best(self) -> CurvePoint:
        """The state that will be written."""
        return next(point for point in self.points if point.step == self.best_step)


class Watch(TrainerCallback):
    """Trainer's callback; only the first process scores and writes."""

    def __init__(
        self,
        work: Path,
        *,
        measure: Callable[[Any], dict[str, float]],
        trainable: Callable[[Any], dict[str, Tensor]],
        tokens_per_step: int,
        every: int,
        patience: int,
        save_seconds: float,
        progress: Progress,
        say: Callable[[str], None],
        board: Board | None = None,
    ) -> None:
        """See `RecoverConfig`; `measure` gives held-out divergences, `trainable` the tensors to keep."""
        self.work, self.measure, self.trainable = work, measure, trainable
        self.tokens_per_step, self.every, self.patience = tokens_per_step, every, patience
        self.save_seconds, self.progress, self.say = save_seconds, progress, say
        self.board = board or Board(None)
        self.curve = _read_curve(work / CURVE_NAME)
        self.losses: list[float] = []
        self.before = self.curve.points[-1].seconds if self.curve.points else 0.0
        self.started = self.saved = perf_counter()
        self.first_step = 0
        self.stopped_by: str | None = None
        self.handler: Any = signal.SIG_DFL

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Score the start, and let SIGTERM end the run after the step in hand."""
        self.started = self.saved = perf_counter()
        self.handler = signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopped_by", "SIGTERM"))
        self.first_step = state.global_step
        self.curve.rewind(state.global_step)
        if not self.curve.points:
            self._evaluate(kwargs["model"], state)
        self.progress.begin("recover", state.max_steps)
        self.progress.advance(state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count the step; score, save and stop when it is time."""
        self.progress.advance()
        if self.losses and state.is_world_process_zero:
            self.board.step(state.global_step, self.losses[-1])
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            self._evaluate(kwargs["model"], state)
            if self._exhausted():
                self.stopped_by = "patience"
        if perf_counter() - self.saved > self.save_seconds or self.stopped_by == "SIGTERM":
            control.should_save = True
            self.saved = perf_counter()
        if self.stopped_by:
            control.should_training_stop = True

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """From here on SIGTERM means again what it meant before."""
        signal.signal(signal.SIGTERM, self.handler)
        self.board.close()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """From now on a run goes on from here, so states that were best before can go."""
        for file in self.work.glob("best-*.safetensors"):
            if file != best_file(self.work, self.curve):
                file.unlink(missing_ok=True)

    def add_loss(self, loss: float) -> None:
        """A micro-batch's loss, for the curve."""
        self.losses.append(loss)

    def _evaluate(self, model: Any, state: TrainerState) -> None:
        found = self.measure(model)
        start = self.curve.points[0].held_out_kl if self.curve.points else found
        point = CurvePoint(
            step=state.global_step,
            tokens=state.global_step * self.tokens_per_step,
            seconds=self.before + perf_counter() - self.started,
            loss=sum(self.losses) / len(self.losses) if self.losses else None,
            held_out_kl=found,
            score=score(found, start),
        )
        self.losses.clear()
        better = not self.curve.points or point.score < self.curve.best.score
        self.curve.points.append(point)
        if better:
            self.curve.best_step = point.step
        best = self.trainable(model) if better and point.step else None  # of shards: all processes take part
        if state.is_world_process_zero:
            if best is not None:
                _replace(best_file(self.work, self.curve), lambda path: save_file(best, path))
            text = json.dumps(asdict(self.curve), indent=1)
            _replace(self.work / CURVE_NAME, lambda path: path.write_text(text, encoding="utf-8"))
            self.board.evaluation(point)
            self.say(
                _line(point, start, self._pace(state)) + (", best so far" if better and point.step else "")
            )

    def _pace(self, state: TrainerState) -> str:
        """Tokens per second of this run, and what is left at that speed."""
        done = state.global_step - self.first_step
        seconds = perf_counter() - self.started
        if not done:
            return ""
        left = (state.max_steps - state.global_step) * seconds / done
        return f", {done * self.tokens_per_step / seconds:.0f} tokens/s, {left / 60:.1f} minutes left"

    def _exhausted(self) -> bool:
        since = [point for point in self.curve.points if point.step > self.curve.best_step]
        return len(since) >= self.patience


def _line(point: CurvePoint, start: dict[str, float], pace: str) -> str:
    found = point.held_out_kl
    worst = max(found, key=lambda name: found[name] / max(start[name], 1e-12))
    loss = "" if point.loss is None else f"loss {point.loss:.3f}, "
    return (
        f"step {point.step}: {loss}held-out KL {point.score:.3f} of the start's (worst: {worst}, "
        f"{found[worst]:.3f} nats per token){pace}"
    )


def best_file(work: Path, curve: Curve) -> Path:
    """Where the trained tensors of the best evaluation are kept."""
    return work / f"best-{curve.best_step}.safetensors"


def best_state(work: Path, curve: Curve) -> dict[str, Tensor]:
    """The trained tensors of the best evaluation."""
    return load_file(best_file(work, curve))


def _read_curve(path: Path) -> Curve:
    if not path.is_file():
        return Curve()
    return validated(Curve, read_json(path, ManifestError), str(path), ManifestError)


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    temporary.replace(path)
