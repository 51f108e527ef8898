"""What one benchmark run measures, and how: validated once, saved with the results."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

from ...errors import OptionError
from .rates import is_whole_a_minute

__all__ = [
    "DEFAULT_SCENARIOS",
    "FLAGS",
    "DTYPES",
    "BenchSettings",
    "Dtype",
    "EngineName",
    "Precision",
    "Scenario",
]

EngineName = Literal["vllm", "onnx", "transformers"]
Scenario = Literal["latency", "throughput", "online", "memory", "quality", "speculative"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Precision = Literal["fp32", "fp16", "bf16", "int8", "int4"]
DTYPES: tuple[str, ...] = get_args(Dtype)
DEFAULT_SCENARIOS: dict[EngineName, tuple[Scenario, ...]] = {
    "vllm": ("latency", "throughput", "online", "memory", "quality"),
    "onnx": ("latency", "throughput", "online", "memory", "quality"),
    "transformers": ("latency", "throughput", "memory", "quality"),
}
EXTRA_SCENARIOS: dict[EngineName, tuple[Scenario, ...]] = {  # that the engine runs when asked to
    "vllm": ("speculative",),
    "onnx": (),
    "transformers": ("speculative",),
}
MAX_ROUNDS = 1000
MAX_TOKENS = 1_000_000
MAX_LOAD = 4096
MAX_SEED = 2**32 - 1  # of numpy's older generators, which vLLM and lm-eval seed
NEEDED_SCENARIOS: dict[str, tuple[Scenario, ...]] = {  # field -> those that it changes
    "batch_sizes": ("latency", "throughput"),
    "requests": ("throughput",),
    "concurrency": ("online",),
    "request_rates": ("online",),
    "repeats": ("latency", "speculative"),
    "warmup": ("latency", "throughput", "speculative"),
    "draft_tokens": ("speculative",),
    "text": ("quality", "speculative"),
    "text_windows": ("quality",),
    "text_window_tokens": ("quality",),
    "tasks": ("quality",),
    "task_directory": ("quality",),
    "task_limit": ("quality",),
}
_WITH = {"task_directory": "tasks", "task_limit": "tasks"}  # field -> what it needs
_WITH |= {"slo_ttft_seconds": "request_rates", "slo_tpot_seconds": "request_rates"}
# What the command line calls a field, where that is another name.
FLAGS = {
    "precision": "dtype",
    "text": "evaluation",
    "text_windows": "evaluation-windows",
    "text_window_tokens": "window-tokens",
    "task_limit": "limit",
    "engine_flags": "vllm-flags",
}


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """All choices of a run.

    Raises:
        OptionError: A value is outside its range, or the engine cannot run a scenario.
    """

    engine: EngineName
    scenarios: tuple[Scenario, ...] = ()  # empty: all that the engine can run
    input_tokens: int = 128
    output_tokens: int = 128  # at least 2: decoding is what follows the first token
    batch_sizes: tuple[int, ...] = (1, 8, 32)  # of the latency scenario
    concurrency: tuple[int, ...] = (1, 4, 16)  # of the online scenario: requests in flight
    request_rates: tuple[float, ...] = ()  # of the online scenario, too: requests a second, come what may
    slo_ttft_seconds: float | None = None  # objectives that a request has to keep to count as good
    slo_tpot_seconds: float | None = None
    requests: int = 64  # of the throughput scenario; online sends 4 per request in flight, at least 8
    rounds: int = 5  # how often every model is measured
    draft_tokens: tuple[int, ...] = (1, 2, 4)  # of the speculative scenario: proposed before each check
    repeats: int = (
        3  # timed repetitions within a round of the latency scenario; speculative: prompts per text
    )
    warmup: int = 1  # untimed repetitions before them
    dtype: Dtype = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = "fp32"  # of the ONNX export made from a checkpoint, onnx engine only
    engine_flags: tuple[str, ...] = ()  # passed on to vLLM as they are
    seed: int = 42  # order of the rounds, token ids
    text: str = "builtin"  # evaluation text of the quality scenario, prompts of the speculative one
    text_windows: int = 16
    text_window_tokens: int = 512
    tasks: tuple[str, ...] = ()  # lm-eval tasks of the quality scenario
    task_directory: str | None = None  # local task files
    task_limit: int | None = None  # documents per task at most

    def __post_init__(self) -> None:
        self._check_choices()
        if not self.scenarios:
            object.__setattr__(self, "scenarios", DEFAULT_SCENARIOS[self.engine])
        unknown = [name for name in self.scenarios if name not in get_args(Scenario)]
        if unknown:
            known = ", ".join(get_args(Scenario))
            raise OptionError(f"unknown scenario {', '.join(unknown)}; expected some of {known}")
        possible = DEFAULT_SCENARIOS[self.engine] + EXTRA_SCENARIOS[self.engine]
        unfit = [name for name in self.scenarios if name not in possible]
        if unfit:
            raise OptionError(
                f"the {self.engine} engine cannot run the scenario {', '.join(unfit)}; it can run "
                f"{', '.join(possible)}"
            )
        if self.engine_flags and self.engine != "vllm":
            raise OptionError(
                f"--vllm-flags cannot take effect with the {self.engine} engine; leave them out"
            )
        self._check_ranges()

    def check_effect(self) -> None:
        """Refuse a choice of the user that would change nothing.

        Raises:
            OptionError: It belongs to another engine, or to a scenario that is not measured.
        """
        if self.engine != "onnx" and self.precision != "fp32":
            raise OptionError(
                f"{self.precision} is of ONNX exports and cannot take effect with the {self.engine} engine; "
                f"use --dtype {', '.join(DTYPES)}, or --engine onnx"
            )
        if self.engine == "onnx" and self.dtype != "auto":
            raise OptionError("dtype cannot take effect with the onnx engine; give precision")
        for field in fields(self):
            needed = NEEDED_SCENARIOS.get(field.name)
            if needed is None or getattr(self, field.name) == field.default:
                continue
            if not set(needed) & set(self.scenarios):
                flag = FLAGS.get(field.name, field.name.replace("_", "-"))
                raise OptionError(
                    f"--{flag} belongs to the scenario {' or '.join(needed)}, which is not measured: leave "
                    "it out, or add one of them to --scenarios"
                )
        for name, other in _WITH.items():
            if getattr(self, name) is not None and not getattr(self, other):
                flag = FLAGS.get(name, name.replace("_", "-"))
                raise OptionError(f"--{flag} cannot take effect without --{other.replace('_', '-')}")

    def _check_choices(self) -> None:
        choices = {
            "engine": (self.engine, get_args(EngineName)),
            "dtype": (self.precision, get_args(Precision)) if self.engine == "onnx" else (self.dtype, DTYPES),
            "device": (self.device, ("auto", "cpu", "cuda")),
        }
        for name, (value, possible) in choices.items():
            if value not in possible:
                raise OptionError(f"--{name} is {value!r}; choose one of {', '.join(possible)}.")

    def _check_ranges(self) -> None:
        single = {
            "input-tokens": (self.input_tokens, 1, MAX_TOKENS),
            "output-tokens": (self.output_tokens, 2, MAX_TOKENS),
            "requests": (self.requests, 1, MAX_TOKENS),
            "rounds": (self.rounds, 1, MAX_ROUNDS),
            "repeats": (self.repeats, 1, MAX_ROUNDS),
            "warmup": (self.warmup, 0, MAX_ROUNDS),
            "seed": (self.seed, 0, MAX_SEED),
            "evaluation-windows": (self.text_windows, 1, MAX_TOKENS),
            "window-tokens": (self.text_window_tokens, 2, MAX_TOKENS),
        }
        for name, (value, low, high) in single.items():
            if not low <= value <= high:
                raise OptionError(f"--{name} is {value}, expected {low} to {high}")
        if self.task_limit is not None and not 1 <= self.task_limit <= MAX_TOKENS:
            raise OptionError(f"--limit is {self.task_limit}, expected 1 to {MAX_TOKENS}")
        self._check_rates()
        several = {
            "batch-sizes": self.batch_sizes,
            "concurrency": self.concurrency,
            "draft-tokens": self.draft_tokens,
        }
        for name, values in several.items():
            if not values or len(set(values)) != len(values):
                raise OptionError(f"--{name} is {values}, expected different whole numbers such as 1,8")
            for value in values:
                if not 1 <= value <= MAX_LOAD:
                    raise OptionError(f"--{name} names {value}, expected 1 to {MAX_LOAD}")

    def _check_rates(self) -> None:
        rates = self.request_rates
        if len(set(rates)) != len(rates):
            raise OptionError(f"--request-rates is {rates}, expected different numbers such as 0.5,1,2")
        for rate in rates:
            if not (1 / 60 <= rate <= MAX_LOAD and is_whole_a_minute(rate)):
                raise OptionError(
                    f"--request-rates names {rate:g}, expected requests a second that make whole ones a "
                    f"minute, such as 0.5 or 2, up to {MAX_LOAD}"
                )
        for name in ("slo_ttft_seconds", "slo_tpot_seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= MAX_TOKENS:
                raise OptionError(
                    f"--{name.replace('_', '-')} is {value}, expected a positive number of seconds"
                )
