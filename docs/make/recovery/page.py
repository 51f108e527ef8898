"""docs/RECOVER.md from the results of `maker.run` alone: the same results, the same bytes."""

import shlex
from io import StringIO
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from ..shared.kept_results import machines
from ..shared.markdown import table

__all__ = ["curves", "render"]


def render(results: dict[str, Any], plot: str) -> str:
    """The page as Markdown.

    Args:
        results: of `maker.run`, with at least one row.
        plot: name of the file of `curves`, beside the page.
    """
    setting = results["setting"]
    kinds = list(setting["evaluation"])
    heads = ["model", "tokens", "minutes", "mean", "worst", *kinds]
    rows = [[f"{name}, not recovered", "0", "0", *_ratios(each)] for name, each in results["starts"].items()]
    for label, row in results["rows"].items():
        best = _best(row["recovery"])
        spent = [f"{best['tokens']:,}", f"{best['seconds'] / 60:.0f}"]
        rows.append([label, *spent, *_ratios(row["quality"])])
    texts = ", ".join(f"`{text}`" for text in setting["texts"])
    lines = [
        "# What recovery wins back",
        "",
        f"Perplexity relative to `{setting['model']}` on {len(kinds)} kinds of text "
        f"(at most {setting['evaluation_windows']} windows of {setting['evaluation_window_tokens']} tokens "
        f"of each), geometric mean and worst, before and after `dotresize recover` on {texts}. No file "
        f"that is evaluated on is trained on. {_length(setting)} Tokens and minutes are those of the state "
        "that was kept.",
        "",
        f"Measured on {machines(results)}.",
        "",
        *table(heads, rows),
        "",
        f"![held-out divergence over tokens]({plot})",
        "",
        "## Commands",
        "",
        "The two starts:",
        "",
        f"    dotresize compress {setting['model']} -o {setting['narrow']} {setting['narrow_options']}",
        f"    dotresize {shlex.join(results['plain_command'])}",
        "",
    ]
    for label, row in results["rows"].items():
        lines += [f"{label}:", "", f"    dotresize {shlex.join(row['command'])}", ""]
    return "\n".join(lines)


def _length(setting: dict[str, Any]) -> str:
    if setting["minutes"] is None:
        return f"Every row was given {setting['tokens']:,} tokens."
    return f"The first row was given {setting['minutes']:g} minutes, the others as many tokens as it took."


def curves(results: dict[str, Any]) -> str:
    """SVG: the mean held-out divergence of every row over the tokens it was trained on."""
    with matplotlib.rc_context({"svg.hashsalt": "recovery", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(7.2, 4.0), layout="constrained")
        axes = figure.add_subplot()
        for label, row in results["rows"].items():
            points = row["recovery"]["curve"]
            means = [sum(point["held_out_kl"].values()) / len(point["held_out_kl"]) for point in points]
            axes.plot([point["tokens"] for point in points], means, marker=".", label=label)
        axes.set(xlabel="tokens", ylabel="held-out KL to the original, nats per token", yscale="log")
        axes.legend(fontsize="small")
        stream = StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def _best(recovery: dict[str, Any]) -> dict[str, Any]:
    points: list[dict[str, Any]] = recovery["curve"]
    return next(point for point in points if point["step"] == recovery["best_step"])


def _ratios(quality: dict[str, Any]) -> list[str]:
    """Mean, worst, and the ratio on each text."""
    each = [text["models"][1]["perplexity_ratio"]["value"] for text in quality["texts"]]
    whole = next((line for line in quality["summary"] if line["scope"] == "all texts"), None)
    mean = whole["geometric_mean"]["value"] if whole else each[0]
    return [f"{value:.3f}" for value in (mean, max(each), *each)]
