"""docs/PLAN.md from the results of `plan.Maker` alone: the same results, the same bytes."""

from statistics import median
from typing import Any

from ..shared.kept_results import machines
from .setting import (
    BUDGETS,
    DEFAULT,
    PROXIED,
    QUICK,
    ROWS,
    SEARCHED,
    UNEVEN,
    UNIFORM,
    Amount,
    Part,
    labels_of,
    parts_of_label,
)

__all__ = ["mean_of", "render", "worst_of"]

SPEED_GOAL, FORECAST_GOAL = 0.07, 0.15  # relative errors
AMOUNTS = (DEFAULT, QUICK)

Rows = dict[str, dict[str, Any]]


def render(results: dict[str, Any], plot: str) -> str:
    """The page as Markdown.

    Args:
        results: of `plan.Maker`.
        plot: name of the picture of `plot`, beside the page.
    """
    lines = [*_head(results), *_fronts(results)]
    if any("point" in row for row in results["fronts"].values()):
        lines += ["", f"![perplexity ratio of every row, by budget]({plot})"]
    lines += [*_layers(results), *_speed(results["speed"]), *_forecasts(results["forecasts"])]
    return "\n".join([*lines, *_missing(results)]) + "\n"


def mean_of(quality: dict[str, Any]) -> float:
    """Geometric mean of the perplexity ratios over the texts."""
    whole = next((line for line in quality["summary"] if line["scope"] == "all texts"), None)
    return float(whole["geometric_mean"]["value"] if whole else max(_ratios(quality).values()))


def worst_of(quality: dict[str, Any]) -> float:
    """The perplexity ratio of the worst text."""
    return max(_ratios(quality).values())


def _ratios(quality: dict[str, Any]) -> dict[str, float]:
    return {text["text"]: text["models"][1]["perplexity_ratio"]["value"] for text in quality["texts"]}


def _head(results: dict[str, Any]) -> list[str]:
    setting = results["setting"]
    return [
        "# What a plan is worth",
        "",
        f"Made by `make bench-plan` for `{setting['model']}` on {machines(results)}. "
        "Every row is a model that was narrowed to the widths shown and scored on the held-out half "
        f"of {len(setting['evaluation'])} kinds of text: {', '.join(setting['evaluation'])}. A ratio is "
        "perplexity over the original's; the mean is geometric. All rows of a table are fitted on the same "
        f"windows of {len(setting['calibration'])} of these kinds. A search scores its candidates on "
        f"{len(setting['searched'])} other kinds; no document that rows are scored on was fitted on or "
        f"searched with. `{PROXIED}` measured no candidate. Only rows that were measured are shown.",
    ]


def _fronts(results: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for amount in AMOUNTS:
        for budget in BUDGETS:
            found = {row: results["fronts"].get(f"{amount.name}: {budget}: {row}") for row in ROWS}
            measured = {row: each for row, each in found.items() if each is not None}
            if measured:
                lines += ["", f"## {_titled(budget)}, {_told(results['setting'], amount)}", ""]
                lines += _front(measured)
    return lines


def _front(rows: Rows) -> list[str]:
    reached = {row: each for row, each in rows.items() if "point" in each}
    names = {row: row if row in (PROXIED, SEARCHED) else f"{row} alone" for row in rows}
    lines = [
        "| | widths | in layers | decode | mean ratio | worst | measured in the search |",
        "|---|---|---|---|---|---|---|",
    ]
    for row, each in sorted(reached.items(), key=lambda item: mean_of(item[1]["quality"])):
        predicted = each["point"]["predicted"]
        share = predicted["layer_parameters"] / each["original"]["layer_parameters"]
        speedup = predicted["decode_speedup"]
        widths = ", ".join(f"{axis} {value}" for axis, value in each["point"]["widths"].items() if value)
        lines.append(
            f"| {names[row]} | {widths} | {share:.1%} | {'' if speedup is None else f'{speedup:.2f}x'} | "
            f"{mean_of(each['quality']):.3f} | {worst_of(each['quality']):.3f} | "
            f"{each['evaluations'] if row == SEARCHED else ''} |"
        )
    beyond = [names[row] for row, each in rows.items() if "unreachable" in each]
    lines += ["", f"Out of reach: {', '.join(beyond)}."] if beyond else []
    return lines + _verdict(reached)


def _verdict(rows: Rows) -> list[str]:
    """Each plan against the best axis alone, as far as they were measured."""
    means = {row: mean_of(each["quality"]) for row, each in rows.items()}
    alone = {row: value for row, value in means.items() if row not in (PROXIED, SEARCHED)}
    if not alone:
        return []
    best = min(alone, key=lambda row: alone[row])
    return [
        f"\n{row[0].upper()}{row[1:]} loses {means[row] - 1:.3f}, the best axis measured, {best}, "
        f"{alone[best] - 1:.3f}: {(means[row] - 1) / (alone[best] - 1) - 1:+.1%}."
        for row in (PROXIED, SEARCHED)
        if row in means
    ]


def _titled(budget: str) -> str:
    kind, amount = budget.split(" ")
    if kind == "params":
        return f"{amount} of the layer parameters"
    return f"Decode speed-up {amount} in vLLM, as predicted"


def _told(setting: dict[str, Any], amount: Amount) -> str:
    tokens = amount.calibration_windows * setting["window_tokens"]
    windows = "1 window" if amount.evaluation_windows == 1 else f"{amount.evaluation_windows} windows"
    return f"{tokens / 1024:.0f} K tokens, effort {amount.effort}, {windows} of each text"


def _layers(results: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for amount in AMOUNTS:
        found = {name: results["layers"].get(f"{amount.name}: {name}") for name in (UNIFORM, UNEVEN)}
        measured = {name: row for name, row in found.items() if row is not None}
        if not measured:
            continue
        lines += ["", f"## Layers of different widths, {_told(results['setting'], amount)}", ""]
        lines += [
            "MLP alone, as many neurons in all; measured in transformers with patched layers, because no "
            "stock engine takes such a model of this family.",
            "",
            "| MLP width | narrowest and widest layer | mean ratio | worst |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {min(row['widths'])}, {max(row['widths'])} | {mean_of(row['quality']):.3f} | "
            f"{worst_of(row['quality']):.3f} |"
            for name, row in measured.items()
        ]
        if UNEVEN in measured:
            lines += ["", f"Widths: {', '.join(map(str, measured[UNEVEN]['widths']))}."]
    return lines


def _speed(rows: Rows) -> list[str]:
    if not rows:
        return []
    lines = [
        "",
        "## Decode speed-up, predicted and measured",
        "",
        "One sequence, widths only (nothing is fitted); measured as `dotresize bench` does, original and "
        "narrow model in turn. Predicted as `dotresize plan` does, from the original, a copy with half its "
        f"widths and one with half its layers: {_steps(rows)}. The roofline is what bytes and FLOPs allow.",
        "",
        "| engine | what is kept | widths | predicted | measured | error | roofline | others used |",
        "|---|---|---|---|---|---|---|---|",
    ]
    errors: dict[str, list[float]] = {}
    rooflines: dict[str, list[float]] = {}
    for label, row in rows.items():
        engine, plan = parts_of_label(label)
        error = row["predicted"] / row["measured"] - 1
        errors.setdefault(engine, []).append(abs(error))
        rooflines.setdefault(engine, []).append(abs(row["roofline"] / row["measured"] - 1))
        interval = "" if row["low"] is None else f" ({row['low']:.2f} to {row['high']:.2f})"
        lines.append(
            f"| {engine}, {row['dtype']} | {plan} | {', '.join(map(str, row['candidate']))} | "
            f"{row['predicted']:.2f}x | {row['measured']:.2f}x{interval} | {error:+.1%} | "
            f"{row['roofline']:.2f}x | {row['busy_elsewhere']:.0%} |"
        )
    medians = ", ".join(
        f"{engine} {median(found):.1%} of {len(found)} plans "
        f"({median(rooflines[engine]):.1%} by the roofline)"
        for engine, found in errors.items()
    )
    return [*lines, "", f"Median error: {medians}; the goal is {SPEED_GOAL:.0%}."]


def _steps(rows: Rows) -> str:
    """What a step is made of, by engine."""
    found = {parts_of_label(label)[0]: row["step"] for label, row in rows.items() if "step" in row}
    return "; ".join(
        f"{engine} takes {step['roofline_factor']:.2f} times the roofline, "
        f"{1e3 * step['layer_seconds']:.2f} ms a layer and {1e3 * step['fixed_seconds']:.2f} ms a step"
        for engine, step in found.items()
    )


def _forecasts(rows: Rows) -> list[str]:
    if not rows:
        return []
    lines = [
        "",
        "## What a run takes, predicted and measured",
        "",
        "Seconds of survey and fits, and the highest resident memory of the process, of `--dry-run` and of "
        f"the run itself; the goal is {FORECAST_GOAL:.0%}.",
        "",
        "| run | tokens | predicted, s | taken, s | error | predicted, GB | taken, GB | error | others |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for label, row in rows.items():
        seconds, peak = row["predicted_seconds"], row["predicted_peak_memory_bytes"]
        taken = row["peak_memory_bytes"]
        lines.append(
            f"| {label} | {row['tokens']:,} | {seconds:.1f} | {row['seconds']:.1f} | "
            f"{seconds / row['seconds'] - 1:+.0%} | {peak / 1e9:.2f} | {taken / 1e9:.2f} | "
            f"{peak / taken - 1:+.0%} | {row['busy_elsewhere'] or 0.0:.0%} |"
        )
    return lines


def _missing(results: dict[str, Any]) -> list[str]:
    """How much of the page is still to be measured."""
    shared = [_left(results, DEFAULT, ("speed", "forecasts"))]
    own = [
        f"with effort {amount.effort}, {left}"
        for amount in AMOUNTS
        if (left := _left(results, amount, ("fronts", "layers")))
    ]
    left = "; ".join(one for one in (*shared, *own) if one)
    return ["", f"Not measured yet: {left}. `make bench-plan` measures it, keeps the rest."] if left else []


def _left(results: dict[str, Any], amount: Amount, parts: tuple[Part, ...]) -> str:
    counts = {part: sum(one not in results[part] for one in labels_of(part, amount)) for part in parts}
    return ", ".join(f"{count} row{'s' * (count > 1)} of {part}" for part, count in counts.items() if count)
