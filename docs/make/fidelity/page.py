"""The fidelity page: each claim of the paper, what the measurements say, and a sentence derived from them."""

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

from ..shared.kept_results import machines
from ..shared.markdown import table
from ..shared.measured import mean_and_worst, ratios
from .compute import LLAMA_70B, LayerShape, break_even
from .rows import REGULARISATIONS

__all__ = ["OFF", "flat_from", "ratio", "render", "views"]

Results = dict[str, Any]
OFF, WORST = "other kinds, mean", "other kinds, worst"
_FLAT = 0.02  # relative change of a perplexity ratio below which a doubling of the text "gains little"


def render(results: Results) -> str:
    """The Markdown page of a results file of `fidelity.run`; rows that are missing are named."""
    sections: tuple[tuple[str, Callable[[Results], list[str]]], ...] = (
        ("Theorem 2.1: the QR step commutes with RMSNorm", _theorem),
        ("Figure 4: the regularisation hardly matters", _regularisation),
        ("Figure 5: gains flatten near 130 K tokens", _tokens),
        ("Merging against dropping, at equal width", _merging),
        ("Transport as an add-on to selection", _add_on),
        ("Figure 3: real compute falls past 20 %", _compute),
    )
    setting = results["setting"]
    command = f'make bench-fidelity FIDELITY_ARGS="--evaluation-windows {setting["evaluation_windows"]}"'
    lines = [
        "# What the paper claims, and what this code measures",
        "",
        "Each section is a claim of DOTResize ([arXiv 2507.04517](https://arxiv.org/abs/2507.04517)), whose",
        f"models have 1 to 70 billion parameters; here it is {setting['model']}. What does not hold here may",
        f"hold there. Calibration: {setting['calibration']}, {setting['calibration_windows']} x",
        f"{setting['window_tokens']} tokens unless a row says otherwise. Every ratio is to the dense model's",
        f"perplexity, on {setting['evaluation_windows']} x {setting['evaluation_window_tokens']} tokens",
        f"of each text: *{setting['own']}* is of the calibration's kind; the other kinds, which it does not",
        f"hold, are {_others(setting)}, by geometric mean and worst.",
        "",
        f"Made by `{command}` on {machines(results)}.",
    ]
    for title, section in sections:
        lines += ["", f"## {title}", "", *section(results)]
    if missing := [label for label in results["labels"] if label not in results["rows"]]:
        lines += ["", f"Not measured yet: {'; '.join(missing)}. The same command measures them."]
    return "\n".join(lines) + "\n"


def _others(setting: dict[str, Any]) -> str:
    *first, last = (kind for kind in setting["evaluation"] if kind != setting["own"])
    return f"{', '.join(first)} and {last}" if first else last


def views(results: Results) -> tuple[str, str, str]:
    """What is shown of a row: the text of the calibration's kind, mean and worst of the others."""
    return results["setting"]["own"], OFF, WORST


def ratio(results: Results, label: str, view: str) -> float | None:
    """A row's perplexity ratio in one of `views`; None where the row is missing or failed."""
    row, setting = results["rows"].get(label), results["setting"]
    if row is None or "failed" in row:
        return None
    each = dict(zip(setting["evaluation"], ratios(row["quality"]), strict=True))
    own = each.pop(setting["own"])
    mean, worst = mean_and_worst(list(each.values()))
    return float({setting["own"]: own, OFF: mean, WORST: worst}[view])


def _cells(results: Results, label: str) -> list[str]:
    if "failed" in results["rows"].get(label, {}):
        return ["did not converge"] * len(views(results))
    values = (ratio(results, label, view) for view in views(results))
    return ["" if value is None else _number(value) for value in values]


def _number(value: float) -> str:
    return f"{value:.3f}" if value < 100 else f"{value:,.0f}"


def _table(results: Results, first: str, rows: list[tuple[str, str]]) -> list[str]:
    measured = [(name, label) for name, label in rows if label in results["rows"]]
    cells = [[name, *_cells(results, label)] for name, label in measured]
    return table((first, *views(results)), cells) if cells else [f"{first}: not measured yet."]


def _theorem(results: Results) -> list[str]:
    heads = "identity, on embedded tokens and their transport plan, float64", "largest relative deviation"
    return [
        *table(heads, ((name, f"{value:.1e}") for name, value in results["identities"].items())),
        "",
        "Holds to rounding; the line that the theorem does not promise shows what narrowing gives up.",
    ]


def _regularisation(results: Results) -> list[str]:
    lines: list[str] = []
    for compensate in ("none", "full"):
        for width in results["setting"]["widths"]:
            rows = [
                (f"{reg:g}", f"hidden {width:g}: dot, lambda {reg:g}, {compensate}")
                for reg in REGULARISATIONS
            ]
            rows = [row for row in rows if row[1] in results["labels"]]
            lines += _table(results, f"lambda, hidden width {width:g}, compensate {compensate}", rows)
            lines += ["", *_spread(results, [label for name, label in rows if name != "0"])]
    return lines[:-1]


def _spread(results: Results, labels: list[str]) -> list[str]:
    """A sentence about the rows of a positive lambda, where there are two or more."""
    apart = []
    for view in views(results)[:2]:
        found = [value for label in labels if (value := ratio(results, label, view)) is not None]
        if len(found) > 1:
            apart.append(f"{max(found) / min(found):.2f} times on {view}")
    return [f"Largest over smallest, lambda above 0: {', '.join(apart)}.", ""] if apart else []


def _tokens(results: Results) -> list[str]:
    setting = results["setting"]
    counts = [windows * setting["window_tokens"] for windows in setting["token_counts"]]
    rows = [(f"{count:,}", f"tokens {count}: mlp magnitude, full") for count in counts]
    lines = []
    for text in views(results):
        values = [(count, ratio(results, f"tokens {count}: mlp magnitude, full", text)) for count in counts]
        known = [(count, value) for count, value in values if value is not None]
        if len(known) < 2:
            continue
        gains = [(b[0], 1 - b[1] / a[1]) for a, b in zip(known, known[1:], strict=False)]
        steps = ", ".join(f"{gain:+.1%} at {count:,}" for count, gain in gains)
        flat = flat_from(gains)
        verdict = (
            f"not below {_FLAT:.0%} here" if flat is None else f"below {_FLAT:.0%} from {flat:,} tokens on"
        )
        lines.append(f"* {text}: gain of each doubling {steps}; {verdict}.")
    measured = _table(results, "calibration tokens", rows)
    return [*measured, "", *lines] if lines else measured


def flat_from(gains: Sequence[tuple[int, float]]) -> int | None:
    """The tokens from which on no doubling gains more than little; None where the last one does."""
    lasting = list(takewhile(lambda each: each[1] < _FLAT, reversed(gains)))
    return lasting[-1][0] if lasting else None


def _merging(results: Results) -> list[str]:
    width = results["setting"]["widths"][0]
    pairs = [
        (
            f"hidden {width:g}, no fits",
            f"hidden {width:g}: magnitude, none",
            f"hidden {width:g}: dot, lambda 0.01, none",
        ),
        (
            f"hidden {width:g}, fitted",
            f"hidden {width:g}: magnitude, full",
            f"hidden {width:g}: dot, lambda 0.01, full",
        ),
        ("MLP, no fits", "mlp: magnitude, none", "mlp: dot, uniform mass, none"),
    ]
    return _pairs(results, pairs, "dropped (magnitude)", "merged (dot)")


def _add_on(results: Results) -> list[str]:
    width = results["setting"]["widths"][0]
    pairs = [
        (
            f"PCA, {compensate}",
            f"hidden {width:g}: pca, {compensate}",
            f"hidden {width:g}: pca+dot, {compensate}",
        )
        for compensate in ("none", "full")
    ]
    return _pairs(results, pairs, "alone", "with transport")


def _pairs(results: Results, pairs: list[tuple[str, str, str]], first: str, second: str) -> list[str]:
    rows = []
    for name, one, other in pairs:
        for text in views(results):
            before, after = ratio(results, one, text), ratio(results, other, text)
            if before is not None and after is not None:
                changed = f"{after / before - 1:+.1%}"
                rows.append((name, text, _number(before), _number(after), changed))
    return table(("", "text", first, second, "change"), rows) if rows else ["Not measured yet."]


def _compute(results: Results) -> list[str]:
    compute = results["compute"]
    shape = LayerShape(*compute["shape"])
    here, there = (f"{break_even(each, junctions=2):.1%}" for each in (shape, LLAMA_70B))
    lines = [
        "The paper maps every residual junction by a matrix of its own, two products of (k, k) per layer.",
        f"Counted in FLOPs that costs more than it saves down to {here} of the width of {compute['model']}",
        f"and {there} of Llama-3.1-70B's; one shared basis saves from the first per cent. Timed: the matrix",
        f"products of one layer over {compute['tokens']} tokens, median of shuffled rounds, relative to the",
        "dense layer.",
        "",
        "| width | one basis, timed | FLOPs | map per junction, timed | FLOPs |",
        "|---|---|---|---|---|",
    ]
    for row in compute["rows"]:
        lines.append(
            f"| {row['fraction']:.0%} | {row['one_basis']:.3f} | {row['one_basis_predicted']:.3f} "
            f"| {row['per_junction']:.3f} | {row['per_junction_predicted']:.3f} |"
        )
    below = [row["fraction"] for row in compute["rows"] if row["per_junction"] < 1.0]
    found = f"from {1 - max(below):.0%} narrower on" if below else "at none of these widths"
    return [*lines, "", f"With a map per junction the layer was faster than the dense one {found}."]
