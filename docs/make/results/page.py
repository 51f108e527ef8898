"""Several benchmarks of the same models -> one Markdown page: what each width gains on each engine."""

from dotresize.bench.record.results import BenchModel, Comparison, Results

__all__ = ["render_page"]

METRICS = {"ttft_seconds": "prefill", "tpot_seconds": "decode"}


def render_page(runs: dict[str, Results], command: str) -> str:
    """The page.

    Args:
        runs: title -> results of one engine, in the order to show.
        command: what makes the page.
    """
    first = next(iter(runs.values()))
    where = first.environment
    lines = [
        "# What each width gains",
        "",
        f"Made by `{command}` on {where.processor}, {where.cores} cores, {where.memory_bytes >> 30} GiB.",
        "Every model was measured in turn, in rounds shuffled by seed; a speed-up is the median of the",
        "rounds' paired ratios, with its 95 % interval (Student's t on log ratios). The ceiling is what",
        "bytes to read and FLOPs to compute allow on this machine; `of ceiling` is the measured speed-up",
        "over it: above 100 %, the original ran further from what the machine can do than the narrow",
        "model did. The directory of each run holds its full report and the raw JSON.",
    ]
    for title, results in runs.items():
        lines += ["", f"## {title}", "", *_section(results)]
    return "\n".join(lines) + "\n"


def _section(results: Results) -> list[str]:
    settings = results.settings
    lines = [
        f"`{results.command}`",
        "",
        f"{settings.input_tokens} tokens in, {settings.output_tokens} out, {settings.rounds} rounds of "
        f"{settings.repeats}; {settings.dtype}; seed {settings.seed}.{_flags(results)} {_rates(results)}",
        "",
        "| model | hidden / MLP | parameters | weights on disk | peak memory | perplexity | KL |",
        "|---|---|---|---|---|---|---|",
        *[_model_row(model, results) for model in results.models],
        "",
        "| model | batch | metric | original | narrow | speed-up | ceiling | of ceiling |",
        "|---|---|---|---|---|---|---|---|",
        *[_speed_row(each) for each in results.comparisons if _shown(each)],
    ]
    reasons = [
        f"* {each.model}, batch {each.load}, {METRICS[each.metric]}: {each.held_back_by}"
        for each in results.comparisons
        if _shown(each) and each.held_back_by
    ]
    if reasons:
        lines += ["", "Where less than 90 % of the ceiling was reached:", "", *reasons]
    if results.warnings:
        lines += ["", "Warnings:", "", *[f"* {warning}" for warning in results.warnings]]
    return lines


def _shown(comparison: Comparison) -> bool:
    return comparison.scenario == "latency" and comparison.metric in METRICS


def _flags(results: Results) -> str:
    flags = " ".join(results.settings.engine_flags)
    return f" vLLM with `{flags}`." if flags else ""


def _rates(results: Results) -> str:
    rates = results.machine_rates
    if rates is None:
        return ""
    return (
        f"Measured rates ({rates.dtype}, {rates.threads} threads): "
        f"{rates.matrix_flops_per_second / 1e9:,.0f} GFLOP/s, {rates.read_bytes_per_second / 1e9:.1f} GB/s."
    )


def _model_row(model: BenchModel, results: Results) -> str:
    quality = {each.model: each for each in (results.quality.models if results.quality else [])}
    memory = {record.model: record for record in results.memory}
    perplexity, divergence, peak = "", "", ""
    if model.name in quality:
        found = quality[model.name]
        perplexity = f"{found.perplexity.value:.2f}"
        if found.perplexity_ratio is not None:
            perplexity += f" ({found.perplexity_ratio.value:.3f}x)"
        divergence = "" if found.kl_nats_per_token is None else f"{found.kl_nats_per_token.value:.3f}"
    if model.name in memory and memory[model.name].peak_bytes_measured is not None:
        peak = f"{(memory[model.name].peak_bytes_measured or 0) / 1e6:,.0f} MB"
    return (
        f"| {model.name} | {model.hidden_size} / {model.intermediate_size} | {model.parameters / 1e6:.1f} M "
        f"| {model.weight_bytes / 1e6:.0f} MB | {peak} | {perplexity} | {divergence} |"
    )


def _speed_row(each: Comparison) -> str:
    interval = "" if each.low is None or each.high is None else f" ({each.low:.2f} to {each.high:.2f})"
    verdict = "" if each.verdict in ("faster", "slower") else f", {each.verdict}"
    ceiling = "" if each.ceiling is None else f"{each.ceiling:.2f}x"
    fraction = "" if each.fraction_of_ceiling is None else f"{each.fraction_of_ceiling:.0%}"
    return (
        f"| {each.model} | {each.load} | {METRICS[each.metric]} | {each.original_median * 1e3:.1f} ms "
        f"| {each.narrow_median * 1e3:.1f} ms | {each.speedup:.2f}x{interval}{verdict} "
        f"| {ceiling} | {fraction} |"
    )
