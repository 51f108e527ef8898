"""What a candidate would be worth against a budget: sizes, memory and the roofline's speed-up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from ..bench.record.results import Part, PartCost
from ..bench.record.settings import BenchSettings
from ..bench.roofline.ceiling import ceilings, predicted_seconds
from ..compress.record.report import Widths
from ..errors import OptionError
from ..serve.engine.model_facts import DTYPE_BYTES
from .axes import Candidate, widths_with
from .budget import Budget
from .hardware import Serving, StepTime
from .size_model import CandidateSizes, SizeModel

__all__ = ["Need", "Predicted", "Predictor"]

NAME = "planned"
LARGEST_BATCH = 4096  # of BenchSettings


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Of one candidate."""

    layer_parameters: int
    parameters: int
    weight_bytes: int
    cache_bytes_per_token: int
    memory_bytes: int  # weights and cache at the budget's context and concurrency
    flops_per_token: int
    decode_speedup: float | None  # of the engine as far as it was measured; None where no rates were given


@dataclass(frozen=True, kw_only=True)
class Need:
    """One requirement of a budget."""

    option: str
    limit: float
    at: Literal["most", "least"]
    value: Callable[[Predicted], float]

    def holds(self, predicted: Predicted) -> bool:
        """Whether a candidate meets it."""
        value = self.value(predicted)
        return value <= self.limit if self.at == "most" else value >= self.limit


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """A `ModelWork` that exists as a config only, in the dtype that it would run in."""

    name: str
    num_hidden_layers: int
    num_attention_heads: int
    head_dim: int
    kv_bytes_per_token: int
    parts: Mapping[Part, PartCost]
    head_every_position: bool = False


class Predictor:
    """Predicts candidates of one model for one budget."""

    def __init__(
        self,
        sizes: SizeModel,
        widths: Widths,
        budget: Budget,
        *,
        dtype: str,
        serving: Serving | None,
        engine: Literal["vllm", "onnx"] = "vllm",
    ) -> None:
        """Take what is known of model, budget and machine.

        Args:
            sizes: of the model's candidates.
            widths: of the original.
            budget: what must hold.
            dtype: of the stored weights.
            serving: where it is to be fast; None predicts no speed.
            engine: that serves.

        Raises:
            OptionError: more sequences at a time than can be timed.
        """
        if serving is not None and budget.concurrency > LARGEST_BATCH:
            raise OptionError(f"--concurrency is {budget.concurrency}; speed is known up to {LARGEST_BATCH}.")
        self.sizes, self.widths, self.budget, self.serving = sizes, widths, budget, serving
        self.dense, self.dtype = sizes.axes.dense, dtype
        self._stored_bytes = DTYPE_BYTES[dtype]
        self._run_dtype = dtype if serving is None else serving.rates.dtype
        self._settings = BenchSettings(
            engine=engine,
            scenarios=("latency",),
            input_tokens=budget.context,
            output_tokens=2,
            batch_sizes=(budget.concurrency,),
        )

    def predict(self, candidate: Candidate) -> Predicted:
        """Everything about a candidate."""
        found, budget = self.sizes.sizes(candidate), self.budget
        weight_bytes = found.parameters * self._stored_bytes
        cache_bytes = found.cache_elements_per_token * self._stored_bytes
        return Predicted(
            layer_parameters=found.layer_parameters,
            parameters=found.parameters,
            weight_bytes=weight_bytes,
            cache_bytes_per_token=cache_bytes,
            memory_bytes=weight_bytes + cache_bytes * budget.context * budget.concurrency,
            flops_per_token=found.flops_per_token,
            decode_speedup=self._speedup(candidate, found),
        )

    def needs(self) -> list[Need]:
        """The budget as requirements."""
        budget, found = self.budget, []
        if budget.params is not None:
            whole = self.sizes.sizes(self.dense).layer_parameters
            limit = budget.params * whole if budget.params < 1 else budget.params
            found.append(
                Need(option="--params", limit=limit, at="most", value=lambda one: one.layer_parameters)
            )
        if budget.weight_bytes is not None:
            limit = float(budget.weight_bytes)
            found.append(
                Need(option="--weight-bytes", limit=limit, at="most", value=lambda one: one.weight_bytes)
            )
        if budget.memory_bytes is not None:
            limit = float(budget.memory_bytes)
            found.append(Need(option="--memory", limit=limit, at="most", value=lambda one: one.memory_bytes))
        if budget.decode_speedup is not None:
            limit = budget.decode_speedup
            found.append(
                Need(
                    option="--decode-speedup",
                    limit=limit,
                    at="least",
                    value=lambda one: one.decode_speedup or 0.0,
                )
            )
        return found

    def _speedup(self, candidate: Candidate, sizes: CandidateSizes) -> float | None:
        if self.serving is None:
            return None
        return self._original_seconds / self._step_seconds(candidate, sizes, self.serving)

    @cached_property
    def _original_seconds(self) -> float:
        assert self.serving is not None
        return self._step_seconds(self.dense, self.sizes.sizes(self.dense), self.serving)

    def _step_seconds(self, candidate: Candidate, sizes: CandidateSizes, serving: Serving) -> float:
        model = self._model(candidate, sizes)
        step = serving.step or StepTime()
        return step.seconds(_roofline_seconds(model, self._settings, serving), model.num_hidden_layers)

    def roofline_seconds(self, candidate: Candidate, settings: BenchSettings) -> float:
        """The shortest decode step that the machine allows at the lengths and first batch size of a run."""
        assert self.serving is not None
        return _roofline_seconds(self._model(candidate, self.sizes.sizes(candidate)), settings, self.serving)

    def _model(self, candidate: Candidate, sizes: CandidateSizes) -> _Planned:
        widths, size = widths_with(candidate, self.widths), DTYPE_BYTES[self._run_dtype]
        parts = {
            part: replace(
                cost,
                weight_bytes=cost.weight_bytes * size,
                decode_bytes=cost.decode_bytes * size,
                loaded_bytes=cost.loaded_bytes * size,
            )
            for part, cost in sizes.parts.items()
        }
        return _Planned(
            name=NAME,
            num_hidden_layers=widths.num_hidden_layers,
            num_attention_heads=widths.num_attention_heads,
            head_dim=widths.head_dim,
            kv_bytes_per_token=sizes.cache_elements_per_token * size,
            parts=parts,
        )


def _roofline_seconds(model: _Planned, settings: BenchSettings, serving: Serving) -> float:
    seconds = predicted_seconds(
        ceilings([model], settings, serving.rates),
        model=NAME,
        metric="tpot_seconds",
        batch_size=settings.batch_sizes[0],
        output_tokens=settings.output_tokens,
    )
    assert seconds is not None  # both phases were asked for
    return seconds
