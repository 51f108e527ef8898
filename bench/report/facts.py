"""What a reader needs to check the numbers: machine, models, lost points, gaps, definitions."""

from ..judge.paired import LEAST_DIFFERENCE, LEAST_ROUNDS
from ..judge.rates import objectives
from ..judge.wording import METRICS, MISSING, bytes_text, keys, load_text, metric, significant
from ..record.results import Results
from .content import Table

__all__ = [
    "INTERVAL",
    "SAME",
    "environment_tables",
    "lost_table",
    "metric_terms",
    "model_tables",
    "not_measured",
    "settings_table",
]

SAME = (
    "“No difference”: the 95 % interval contains 1, or the speed-up is within "
    f"{LEAST_DIFFERENCE * 100:g} % of 1, which nobody would notice, however narrow the interval."
)
INTERVAL = (
    "In every round, all models are measured directly after each other in an order drawn from the seed, "
    "on the same token ids and with a fixed number of output tokens. Each round gives one speed-up: the "
    "ratio of the two medians of that round. What disturbs a whole round disturbs both and cancels.",
    "The 95 % interval is Student's t on the logarithms of these ratios: exp(m ± t · d / √n), with mean m "
    "and standard deviation d over n rounds, and t the 0.975 quantile with n - 1 degrees of freedom. The "
    "speed-up shown is the median over rounds, which one disturbed round does not move.",
    "The verdict is “no difference” when the interval contains 1 or the speed-up is within "
    f"{LEAST_DIFFERENCE * 100:g} % of 1, and “too few rounds” below {LEAST_ROUNDS} rounds.",
)


def model_tables(results: Results) -> list[Table]:
    """Every model with the letter that the charts use, and where it came from."""
    letters = keys(results.models)
    shapes = [
        [
            letters[m.name],
            m.name,
            f"{m.hidden_size:,}",
            f"{m.intermediate_size:,}",
            f"{m.num_hidden_layers:,}",
            f"{m.num_attention_heads} / {m.num_key_value_heads}",
            f"{m.parameters / 1e6:,.1f} M",
            bytes_text(m.weight_bytes),
            bytes_text(m.kv_bytes_per_token),
        ]
        for m in results.models
    ]
    columns = ["key", "model", ">hidden", ">MLP", ">layers", ">heads / KV", ">parameters", ">on disk"]
    origins = [
        [m.name, m.source, m.format, m.precision, m.sha256[:12], m.tokenizer_sha256[:12]]
        for m in results.models
    ]
    tables = [
        Table(
            caption="The models; the first is the original",
            columns=[*columns, ">KV per token"],
            rows=shapes,
        ),
        Table(
            caption="Where they came from; the first 12 digits of SHA-256 sums",
            columns=["model", "source", "format", "precision", "weights", "tokenizer"],
            rows=origins,
        ),
    ]
    made = [(model.name, model.making) for model in results.models if model.making is not None]
    rows = [
        [
            name,
            making.source,
            " ".join(f"{option}={value}" for option, value in making.options.items()),
            making.calibration,
            f"{making.recovery or 'none'}"
            + (
                f", {making.recovery_seconds / 60:.1f} minutes" if making.recovery_seconds is not None else ""
            ),
            making.verification,
        ]
        for name, making in made
    ]
    columns = ["model", "narrowed from", "options", "calibration", "recovery", "verification"]
    caption = "How they were made, by their manifests"
    return tables + ([Table(caption=caption, columns=columns, rows=rows)] if rows else [])


def environment_tables(results: Results) -> list[Table]:
    """Machine, versions, and what the machine does at best."""
    e = results.environment
    rows = [
        ["processor", e.processor],
        ["cores", str(e.cores)],
        ["memory", bytes_text(e.memory_bytes)],
        ["GPU", e.gpu or "none used"],
        ["GPU memory", bytes_text(e.gpu_memory_bytes) if e.gpu_memory_bytes else ""],
        ["GPU driver", e.gpu_driver or ""],
        ["GPU clocks", ", ".join(f"{n} {v} MHz" for n, v in (e.gpu_clock_megahertz or {}).items())],
        ["system", e.system],
        ["load before the run", MISSING if e.load_average is None else f"{e.load_average:.2f} (one minute)"],
        ["engine", results.settings.engine],
        *([name, version] for name, version in e.versions.items()),
    ]
    if (rates := results.machine_rates) is not None:
        where = f"{rates.device}, {rates.dtype}, {rates.threads} threads"
        rows += [
            [f"matrix rate ({where})", f"{significant(rates.matrix_flops_per_second / 1e9)} GFLOP/s"],
            [f"read bandwidth ({where})", f"{significant(rates.read_bytes_per_second / 1e9)} GB/s"],
        ]
    busy = [m.busy_elsewhere for m in results.measurements if m.busy_elsewhere is not None]
    if busy:
        rows.append(["cores used by others meanwhile", f"at most {max(busy) * 100:.0f} % of all"])
    watts = [m.mean_gpu_power_watts for m in results.measurements if m.mean_gpu_power_watts is not None]
    if watts:
        rows.append(["GPU power", f"{min(watts):.0f} to {max(watts):.0f} W, means of single measurements"])
    shown = [row for row in rows if row[1]]
    return [Table(caption="Machine and versions", columns=["what", "value"], rows=shown)]


def settings_table(results: Results) -> Table:
    """Every choice of the run, seed included."""
    rows = []
    for name, value in vars(results.settings).items():
        listed = isinstance(value, tuple | list)
        text = ", ".join(str(item) for item in value) if listed else str(value)
        if value is not None and text:
            rows.append([name, text])
    return Table(caption="Settings", columns=["setting", "value"], rows=rows)


def lost_table(results: Results) -> Table | None:
    """Every point that failed or ran out of memory; None when there is none."""
    rows = [
        [m.model, m.scenario, load_text(m.scenario, m.load), str(m.round + 1), m.status, m.error or MISSING]
        for m in results.measurements
        if m.status != "ok"
    ]
    if not rows:
        return None
    return Table(
        caption="Points without a number",
        columns=["model", "scenario", "load", ">round", "status", "error"],
        rows=rows,
    )


def not_measured(results: Results) -> list[str]:
    """One sentence per gap, so that silence is never taken for a result."""
    done = {str(m.scenario) for m in results.measurements if m.status == "ok"} - {"memory"}
    done |= {"memory"} if results.memory else set()
    done |= {"quality"} if results.quality else set()
    found = []
    for scenario in ("latency", "throughput", "online", "memory", "quality"):
        if scenario not in done:
            asked = scenario in results.settings.scenarios
            reason = "it was asked for, but has no result" if asked else "it was not asked for"
            found.append(f"{scenario.capitalize()}: {reason}.")
    if not results.ceilings:
        found.append("Ceiling: no machine rates were measured, so nothing says what would be possible.")
    elif not any(ceiling.kernel_seconds_by_part for ceiling in results.ceilings):
        found.append("Matrices timed alone: only the roofline ceiling is known.")
    if results.quality is not None and not results.quality.tasks:
        found.append("Tasks: none were asked for; perplexity alone stands for quality.")
    if results.environment.gpu is None:
        found.append("GPU: none was used, so nothing here says how fast one would be.")
    names: dict[str, list[int | None] | list[float | None]] = {
        "the loaded weights": [record.weight_bytes_loaded for record in results.memory],
        "the KV cache": [record.kv_bytes_per_token_measured for record in results.memory],
        "the peak": [record.peak_bytes_measured for record in results.memory],
    }
    unknown = [name for name, values in names.items() if values and None in values]
    if unknown:
        found.append(f"Memory: {', '.join(unknown)} could not be measured for every model.")
    return found


def metric_terms(results: Results) -> list[tuple[str, str]]:
    """Label and definition of every metric that appears."""
    used = {key for measurement in results.measurements for key in measurement.samples}
    if objectives(results):
        used.add("goodput")
    known = [key for key in METRICS if key in used]
    terms = [(f"{metric(key).label}, {metric(key).name}", metric(key).definition) for key in known]
    if results.ceilings:
        terms.append(
            (
                "Ceiling",
                "the speed-up if both models took only the time that bytes to read and FLOPs to compute need "
                "on this machine, part by part the larger of the two",
            )
        )
    if results.quality is not None:
        terms += [
            ("Perplexity", "exp of the mean negative log-likelihood per token, in nats; smaller is better"),
            (
                "KL",
                "Kullback-Leibler divergence of the narrow model's next-token distribution from the "
                "original's; 0 is the same",
            ),
        ]
    return terms
