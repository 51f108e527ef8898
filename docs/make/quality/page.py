"""The Markdown page of the method benchmark: methods x texts, a table per axis."""

import re
from typing import Any

from ..shared.kept_results import machines
from ..shared.markdown import table
from .rows import Setting, axis_of, has_more, rows_at

__all__ = ["render"]

BUSY = 0.05  # share of all cores used by other processes from which on a row's seconds are marked
_AXES = {"hidden": "Hidden width", "mlp": "MLP width"}


def render(results: dict[str, Any], command: str, plot: str) -> str:
    """The page of a results file with at least one row.

    Args:
        results: of `run.run_quality`.
        command: that made it.
        plot: the name of the picture beside the page.
    """
    rows = results["rows"]
    lines = [*_introduction(results, command), ""]
    for axis, title in _AXES.items():
        chosen = {label: row for label, row in rows.items() if axis_of(label) == axis}
        if chosen:
            lines += [f"## {title}", "", *_ratios(chosen), "", *_costs(chosen), ""]
    lines += [f"![Perplexity relative to the original, by method]({plot})", ""]
    lines += _transport(rows)
    lines += _calibrations(results["setting"])
    if results["sources"]:
        lines += ["", *_sources(results["sources"])]
    missing = [label for label in rows_at(Setting(**results["setting"])) if label not in rows]
    if missing:
        lines += [
            "",
            f"Not measured yet: {'; '.join(missing)}. The same command measures them and keeps the rest.",
        ]
    return "\n".join(lines).rstrip() + "\n"


def _introduction(results: dict[str, Any], command: str) -> list[str]:
    setting = results["setting"]
    calibration = f"{setting['calibration_windows']} x {setting['window_tokens']} tokens"
    windows = setting["evaluation_windows"] or "all"
    return [
        "# Which method keeps most quality, and on which text",
        "",
        f"Model {setting['model']}, hidden width {setting['width']:g} and MLP width",
        f"{setting['mlp_width']:.4g}, one axis at a time.",
        f"In brackets: what it was calibrated on, {calibration}, seed {setting['seed']}.",
        f"Evaluated on up to {windows} windows of {setting['evaluation_window_tokens']} tokens of each text,",
        "from files that no calibration reads.",
        "",
        "A cell is the ratio of the perplexity to the original's, paired window by window; *in italics*",
        "where the calibration held text of this kind. The mean is the geometric one. `pca, none` is",
        "SliceGPT's scheme on the one shared basis; the paper rows are the paper's.",
        "",
        f"Made by `{command}` on {machines(results, 'Python', 'torch', 'transformers')}.",
    ]


def _ratios(rows: dict[str, dict[str, Any]]) -> list[str]:
    names = [text["text"] for text in next(iter(rows.values()))["quality"]["texts"]]
    header = ["method [calibration]", *map(_short, names), "mean", "worst", "mean elsewhere"]
    first = next(iter(rows.values()))["quality"]["texts"]
    dense = [f"{text['models'][0]['perplexity']['value']:.2f}" for text in first]
    found = [["dense perplexity", *dense, "", "", ""]]
    ordered = sorted(rows.items(), key=lambda item: _summary(item[1], "all texts")["geometric_mean"]["value"])
    for label, row in ordered:
        cells = [_ratio(text["models"][1]) for text in row["quality"]["texts"]]
        whole, foreign = _summary(row, "all texts"), _summary(row, "not calibrated on")
        mean = _plus_minus(whole["geometric_mean"], 3)
        elsewhere = f"{foreign['geometric_mean']['value']:.3f}" if foreign else ""
        found.append([label, *cells, f"**{mean}**", f"{whole['worst']['value']:.2f}", elsewhere])
    return table(header, found)


def _ratio(model: dict[str, Any]) -> str:
    text = f"{model['perplexity_ratio']['value']:.2f}"
    return f"*{text}*" if model["calibrated_on"] else text


def _summary(row: dict[str, Any], scope: str) -> dict[str, Any]:
    """The line of that scope; with a single text, that text's ratio is its mean."""
    found = [line for line in row["quality"]["summary"] if line["scope"] == scope]
    if found or scope != "all texts":
        return dict(found[0]) if found else {}
    ratio = row["quality"]["texts"][0]["models"][1]["perplexity_ratio"]
    return {"geometric_mean": ratio, "worst": ratio}


def _costs(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Passes: seconds of the compression over those of one dense pass over the same tokens."""
    header = [
        "method [calibration]",
        "layer params",
        "all params",
        "seconds",
        "passes",
        "peak GB",
        "predicted",
    ]
    lines = [
        "Passes: seconds of the compression over those of a dense forward pass over the same tokens, the",
        "mean of one just before it and one just after it. Peak: highest resident memory of the process",
        "beside the prediction of `bench/roofline/compress_cost.py`. \\*: other processes used more than",
        f"{BUSY:.0%} of the machine.",
        "",
    ]
    found = []
    for label, row in rows.items():
        marked = "\\*" if (row["busy_elsewhere"] or 0.0) > BUSY else ""
        cells = [
            label,
            f"{row['layer_fraction']:.1%}",
            f"{row['total_parameters'] / 1e6:.1f} M",
            f"{row['seconds']:.0f}{marked}",
            f"{row['seconds'] / row['forward_seconds']:.1f}{marked}",
            f"{row['peak_memory_bytes'] / 1e9:.2f}",
            f"{row['predicted_peak_memory_bytes'] / 1e9:.2f}",
        ]
        found.append(cells)
    return lines + table(header, found)


def _transport(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Where transport stands against selection, and why; nothing before both were measured on an axis."""
    pairs = {
        axis: (_best(rows, axis, "dot"), _best(rows, axis, "magnitude", "pca", "fisher")) for axis in _AXES
    }
    stand = [
        f"* {axis}: `{merged[0]}` {merged[1]:.3f}, `{selected[0]}` {selected[1]:.3f}"
        for axis, (merged, selected) in pairs.items()
        if merged and selected
    ]
    if not stand:
        return []
    return [
        "## Transport against selection",
        "",
        "The best mean of a method that merges by transport, and of one that does not:",
        "",
        *stand,
        "",
        "What is written for a dropped neuron is a linear function of the neurons that stay. Transport gives",
        "one such function; a least-squares fit of the writer looks for the best of all, so behind a fit",
        "transport can only matter by what it keeps, and merged gates and readers pass through a product",
        "that an average does not commute with. On the stream its columns are means of groups of",
        "coordinates; a subspace of that shape holds less of the energy than principal directions, and what",
        "a subspace loses no fit brings back. Without a fit it helps: merging what selection drops onto what",
        "selection keeps beat dropping on nine of nine kinds of text (docs/LOG.md, 2026-11-24), and it is",
        "there as `--mlp-method magnitude+dot`.",
        "",
    ]


def _best(rows: dict[str, dict[str, Any]], axis: str, *methods: str) -> tuple[str, float] | None:
    """Label and mean of the best row of an axis that is of one of these methods."""
    means = {
        label: _summary(row, "all texts")["geometric_mean"]["value"]
        for label, row in rows.items()
        if axis_of(label) == axis and not has_more(label) and re.split(r"[, ]+", label)[1] in methods
    }
    return min(means.items(), key=lambda item: float(item[1])) if means else None


def _calibrations(setting: dict[str, Any]) -> list[str]:
    lines = ["## Calibrations", ""]
    for name, texts in setting["calibrations"].items():
        lines.append(f"* **{name}**: {', '.join(f'`{_base(text)}`' for text in texts)}")
    return lines


def _sources(sources: dict[str, Any]) -> list[str]:
    rows = []
    for name, record in sources.items():
        if "missing" in record:
            rows.append([name, f"left out: {record['missing']}", "", "", ""])
            continue
        documents = ", ".join(f"{count} for {half}" for half, count in sorted(record["documents"].items()))
        rows.append([name, record["source"], record["version"], record["licence"], documents])
    return ["## Texts", "", *table(("text", "source", "version", "licence", "documents"), rows)]


def _short(name: str) -> str:
    return name.removesuffix(".jsonl").removesuffix(".evaluation").removeprefix("builtin:")


def _base(text: str) -> str:
    return text.rsplit("/", 1)[-1]


def _plus_minus(estimate: dict[str, float | None], digits: int) -> str:
    error = estimate["standard_error"]
    return f"{estimate['value']:.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")
