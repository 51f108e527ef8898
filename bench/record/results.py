"""The results of a benchmark: one JSON file with a versioned schema, from which every report is made.

Raw samples are kept, so that another analysis can be made from the same file. All durations are in
seconds. `speed-up` always means: larger than 1 is better than the original.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from ...compress.record.report import Widths
from ...errors import InputError
from ...export.disk.staging import write_atomically
from ...json_files import read_json, validated
from ...version import __version__
from .draft_records import DraftCounts, SpeculativeRecord
from .making import Making
from .settings import BenchSettings

__all__ = [
    "SCHEMA_VERSION",
    "BenchModel",
    "Ceiling",
    "Comparison",
    "Environment",
    "Estimate",
    "MachineRates",
    "Measurement",
    "MemoryRecord",
    "ModelQuality",
    "PartCost",
    "QualityRecord",
    "Results",
    "SampleAnswer",
    "TaskScore",
    "is_results",
    "read",
    "write",
]

SCHEMA_VERSION = 1
Part = Literal["embedding", "attention", "mlp", "norm", "head"]
Phase = Literal["prefill", "decode"]


@dataclass(frozen=True, kw_only=True)
class PartCost:
    """What one part of a model costs: all layers together."""

    weight_bytes: int  # stored in the artefact; a tied head counts under "head", its table not twice
    decode_bytes: int  # weight bytes that one decode step must read, whatever the batch size
    flops_per_token: float  # matrix multiply-adds count 2; without the attention over the context
    loaded_bytes: int = 0  # in memory, in the dtype of the run; quantised weights as they are stored


@dataclass(frozen=True, kw_only=True)
class BenchModel(Widths):
    """One model as it was measured. The first of a run is the original."""

    name: str  # unique in the run
    source: str  # what the user named
    path: str  # the directory that the engine loaded
    format: str  # "huggingface", "vllm" or "onnx"
    precision: str  # of the stored weights
    sha256: str  # over the weight files
    tokenizer_sha256: str  # over the vocabulary
    parameters: int
    weight_bytes: int  # on disk
    kv_bytes_per_token: int  # keys and values of one token, in the dtype of the run
    parts: dict[Part, PartCost]
    compute_dtype: str = ""  # what its matrices are multiplied in: "float32", "bfloat16", "float16", "int8"
    head_every_position: bool = False  # the prefill computes logits of the whole input, not of its last token
    making: Making | None = None  # None: dotresize did not narrow it


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Where it ran. Unknown is None, never a guess."""

    processor: str
    cores: int
    memory_bytes: int
    gpu: str | None
    gpu_memory_bytes: int | None
    gpu_driver: str | None
    gpu_clock_megahertz: dict[str, int] | None  # read, never set
    system: str
    versions: dict[str, str]  # python, dotresize, torch, transformers, vllm, onnxruntime, ...
    load_average: float | None  # over the last minute, before the run
    engine_settings: dict[str, str] = field(default_factory=dict)  # environment variables that change answers


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One model, one round, one scenario at one load."""

    model: str
    round: int  # 0 ... rounds - 1
    scenario: Literal["latency", "throughput", "online", "rate", "memory", "speculative"]
    load: int  # batch size, requests, requests in flight, requests a minute, or draft tokens (0: alone)
    status: Literal["ok", "out of memory", "failed"]
    error: str = ""  # one line; empty when ok
    # "ttft_seconds", "tpot_seconds", "itl_seconds", "e2e_seconds", "output_tokens_per_second", ... -> samples
    samples: dict[str, list[float]] = field(default_factory=dict)
    peak_memory_bytes: int | None = None  # resident, of the engine's whole process tree
    peak_gpu_memory_bytes: int | None = None
    mean_gpu_power_watts: float | None = None
    weight_bytes_loaded: int | None = None  # as the engine reports or holds them
    kv_bytes_per_token: float | None = None  # of the cache that the engine allocated
    base_bytes: int | None = None  # resident, of the engine's process right before it loads the model
    busy_elsewhere: float | None = None  # share of all cores that other processes used meanwhile, 0 to 1
    started_utc: str = ""
    tokens: list[list[int]] | None = None  # speculative: the greedy answer to every prompt
    draft: DraftCounts | None = None


@dataclass(frozen=True, kw_only=True)
class MemoryRecord:
    """One model's memory, predicted beside measured. None: not measured or not known for this engine."""

    model: str
    weight_bytes_on_disk: int
    weight_bytes_predicted: int  # parameters in the dtype of the run
    weight_bytes_loaded: int | None  # as the engine reports or holds them
    kv_bytes_per_token_predicted: int
    kv_bytes_per_token_measured: float | None
    peak_bytes_predicted: int | None
    peak_bytes_measured: int | None  # resident memory of the process tree, or GPU memory
    on_gpu: bool
    # in the memory that the original needs for its weights and `reference_tokens` of cache:
    reference_tokens: int
    tokens_that_fit: int


@dataclass(frozen=True, kw_only=True)
class MachineRates:
    """What the machine does at best, measured by a micro-benchmark."""

    device: str
    dtype: str
    threads: int
    matrix_flops_per_second: float  # large square matrices
    read_bytes_per_second: float  # streaming through memory far larger than the caches
    seconds_spent: float
    # (bytes that are read again and again, bytes per second), smallest first: caches hold small models
    read_rates: list[tuple[int, float]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """The shortest time that the machine could need, part by part (roofline)."""

    model: str
    phase: Phase  # prefill: the whole input; decode: one step of the whole batch
    batch_size: int
    seconds: float  # sum over parts
    seconds_by_part: dict[str, float]  # "attention", "mlp", "head", "context" (scores and cache), ...
    bound_by_part: dict[str, Literal["bytes", "flops"]]
    kernel_seconds_by_part: dict[str, float] | None = None  # the same matrices timed alone; None: not timed


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One metric of one narrow model against the original, paired round by round."""

    model: str
    scenario: Literal["latency", "throughput", "online", "speculative"]
    load: int
    metric: str  # a key of `Measurement.samples`
    original_median: float
    narrow_median: float
    pairs: list[float]  # the speed-up in each round
    speedup: float  # median of the pairs
    low: float | None  # 95 % interval; None with a single round
    high: float | None
    verdict: Literal["faster", "slower", "no difference", "too few rounds"]
    ceiling: float | None = None  # the speed-up that bytes and FLOPs allow
    kernel_ceiling: float | None = None  # the speed-up of the same matrices timed alone
    fraction_of_ceiling: float | None = None  # speedup / ceiling
    held_back_by: str = ""  # one sentence when the fraction is below 0.9


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean and its standard error (None for a single value)."""

    value: float
    standard_error: float | None


@dataclass(frozen=True, kw_only=True)
class ModelQuality:
    """One model on the evaluation text. Ratio and KL are against the original, None for it."""

    model: str
    tokens: int
    perplexity: Estimate
    perplexity_ratio: Estimate | None
    kl_nats_per_token: Estimate | None


@dataclass(frozen=True, kw_only=True)
class TaskScore:
    """One lm-eval metric."""

    model: str
    task: str
    metric: str
    value: float
    standard_error: float | None
    documents: int


@dataclass(frozen=True, kw_only=True)
class SampleAnswer:
    """What a model answers to one prompt, greedily."""

    model: str
    prompt: str
    text: str
    complete: bool  # whether it ended by itself


@dataclass(frozen=True, kw_only=True)
class QualityRecord:
    """What narrowing costs."""

    text: str
    text_sha256: str
    windows: int
    window_tokens: int
    models: list[ModelQuality]
    tasks: list[TaskScore] = field(default_factory=list)
    answers: list[SampleAnswer] = field(default_factory=list)


@dataclass(kw_only=True)
class Results:
    """Everything of one run. It grows while the run goes on and is saved after every step."""

    schema_version: int = SCHEMA_VERSION
    tool_version: str = __version__
    created_utc: str
    command: str  # what reproduces it
    complete: bool = False
    settings: BenchSettings
    environment: Environment
    models: list[BenchModel]
    measurements: list[Measurement] = field(default_factory=list)
    machine_rates: MachineRates | None = None
    ceilings: list[Ceiling] = field(default_factory=list)
    memory: list[MemoryRecord] = field(default_factory=list)
    quality: QualityRecord | None = None
    comparisons: list[Comparison] = field(default_factory=list)
    speculative: list[SpeculativeRecord] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    summary: list[str] = field(default_factory=list)  # the headline first, one sentence per narrow model


def write(results: Results, path: Path) -> None:
    """Write the JSON file, replacing an older one in one step."""
    write_atomically(path, json.dumps(asdict(results), indent=1, allow_nan=False) + "\n")


def is_results(path: Path) -> bool:
    """Whether a file is one that `write` made, of whatever version."""
    try:
        data = read_json(path, InputError)
    except InputError:
        return False
    return isinstance(data, dict) and {"schema_version", "settings", "measurements"} <= data.keys()


def read(path: Path) -> Results:
    """Inverse of `write`.

    Raises:
        InputError: It is not there, not JSON, of a newer schema, or does not follow the schema.
    """
    try:
        data = read_json(path, InputError)
    except InputError as error:
        raise InputError(f"{path} cannot be read as benchmark results: {error}") from error
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, int) or version < 1:
        raise InputError(f"{path} holds no benchmark results: it has no schema_version")
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{path} has results schema {version}, newer than this dotresize ({__version__}) reads (up to "
            f"{SCHEMA_VERSION}); upgrade dotresize"
        )
    return validated(Results, data, f"{path} (results schema {version})", InputError)
