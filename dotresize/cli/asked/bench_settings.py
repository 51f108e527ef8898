"""Benchmark options as they were typed -> settings."""

from typing import TYPE_CHECKING, Any

from ..options.bench import BenchOptions
from ..options.dtypes import canonical, onnx_precision
from ..options.texts import one_text
from .lists import names, numbers, rates, words

if TYPE_CHECKING:
    from ...bench.record.settings import BenchSettings

__all__ = ["bench_settings"]


def bench_settings(
    command: str, options: BenchOptions, *, dtype: str, scenarios: tuple[str, ...], **rest: Any
) -> "BenchSettings":
    """The settings, in which every choice of the user changes something.

    Args:
        command: Which one asks, for errors.
        options: What `bench` and `sweep` share.
        dtype: What the models run in, or the ONNX exports are written in.
        scenarios: Those that are measured; none for all that the engine can run.
        rest: Further settings.

    Raises:
        OptionError: A value is out of its range, or would change nothing.
    """
    from ...bench.record.settings import BenchSettings

    settings = BenchSettings(
        engine=options.engine,  # type: ignore[arg-type]  # BenchSettings checks the choices
        scenarios=scenarios,  # type: ignore[arg-type]
        **_run_in(options.engine, dtype),
        draft_tokens=numbers("draft-tokens", options.draft_tokens or ""),
        input_tokens=options.input_tokens,
        output_tokens=options.output_tokens,
        batch_sizes=numbers("batch-sizes", options.batch_sizes),
        concurrency=numbers("concurrency", options.concurrency or ""),
        request_rates=rates("request-rates", options.request_rates),
        slo_ttft_seconds=options.slo_ttft_seconds,
        slo_tpot_seconds=options.slo_tpot_seconds,
        requests=options.requests,
        rounds=options.rounds,
        repeats=options.repeats,
        warmup=options.warmup,
        engine_flags=words("vllm-flags", options.vllm_flags),
        text=one_text(command, options.evaluation),
        text_windows=16 if options.evaluation_windows is None else options.evaluation_windows,
        tasks=names(options.tasks),
        task_directory=str(options.task_directory) if options.task_directory else None,
        task_limit=options.limit,
        **rest,
    )
    settings.check_effect()
    return settings


def _run_in(engine: str, dtype: str) -> dict[str, Any]:
    """ONNX models run in what they are exported in; the others are cast when they are loaded."""
    if engine == "onnx":
        return {"precision": "fp32" if dtype == "auto" else onnx_precision(dtype)}
    if dtype in ("int8", "int4"):
        return {"precision": dtype}  # which is refused: it belongs to the other engine
    return {"dtype": canonical(dtype)}
