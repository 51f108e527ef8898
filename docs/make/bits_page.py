"""docs/BITS.md from the results of `bits.run` alone: the same results, the same bytes."""

import math
from collections.abc import Iterable
from typing import Any

from .markdown import table

__all__ = ["engine_of", "front", "kl_of", "render", "share_where_width_helps"]

_ENGINES = {"vllm": "vLLM", "onnx": "ONNX Runtime"}


def render(results: dict[str, Any], plot: str) -> str:
    """The page as Markdown.

    Args:
        results: of `bits.run`.
        plot: name of the file of `bits_plot.bits_svg`, beside the page.
    """
    setting, machine, rows = results["setting"], results["environment"], results["rows"]
    heads = ["model", "MB", "KL, nats per token", "perplexity ratio", "worst", "tokens per second", "front"]
    best = {label for engine in _ENGINES for label in front(_of(rows, engine))}
    cells = [
        [
            label,
            f"{row['bytes'] / 1e6:.1f}",
            f"{kl_of(row):.4f}",
            *_ratios(row["quality"]),
            f"{results['speed'][label]:.1f}" if label in results["speed"] else "",
            "yes" if label in best else "",
        ]
        for label, row in sorted(rows.items(), key=lambda each: -each[1]["bytes"])
    ]
    return "\n".join(
        [
            "# Width, bits, and both",
            "",
            _what(setting),
            "",
            f"Machine: {machine['processor']}, {machine['cores']} cores.",
            "",
            *table(heads, cells),
            "",
            *_failures(results["failed"]),
            f"![KL over bytes]({plot})",
            "",
            *(line for engine in _ENGINES for line in _verdict(_of(rows, engine), engine)),
            "`make bench-bits` measures it; `BITS_ARGS=\"--rows 'width 0.75'\"` or `--rows onnx` a part, "
            "`--speed` decoding.",
            "",
        ]
    )


def _what(setting: dict[str, Any]) -> str:
    """What was measured, and on what."""
    texts = ", ".join(f"`{text}`" for text in setting["calibration"])
    return (
        f"`{setting['model']}` with fewer MLP neurons, fewer bits per weight, or both: KL to the original, "
        f"geometric mean and worst of the perplexity ratios over {len(setting['evaluation'])} kinds of "
        f"text (at most {setting['evaluation_windows']} windows of {setting['evaluation_window_tokens']} "
        "tokens of each). Widths are fitted, and calibrated rounding looks, at "
        f"{setting['calibration_windows']} windows of {setting['window_tokens']} tokens of {texts}; no "
        "file is evaluated on that was fitted on. Quality of the rows for vLLM is that of the stored weights "
        "in float32: what the engine rounds of the activations is not in it; that of the rows for ONNX is "
        "what ONNX Runtime answers. Speed is one sequence decoding, each in its engine. A row is on the "
        "front if none of its engine is smaller and closer."
    )


def engine_of(bits: str) -> str:
    """Which engine the weights are written for: vllm or onnx."""
    return "onnx" if bits.startswith("onnx ") else "vllm"


def _of(rows: dict[str, dict[str, Any]], engine: str) -> dict[str, dict[str, Any]]:
    return {label: row for label, row in rows.items() if engine_of(row["bits"]) == engine}


def _failures(failed: dict[str, str]) -> list[str]:
    """What could not be measured, and why."""
    if not failed:
        return []
    lines = [f"* {label}: {reason}" for label, reason in sorted(failed.items())]
    return ["Failed, and tried again by the next run:", "", *lines, ""]


def kl_of(row: dict[str, Any]) -> float:
    """Mean over the texts of the KL to the original, nats per token."""
    values = [text["models"][1]["kl_nats_per_token"]["value"] for text in row["quality"]["texts"]]
    return math.fsum(values) / len(values)


def front(rows: dict[str, dict[str, Any]]) -> set[str]:
    """Labels of the rows that no other row beats in both bytes and KL."""
    points = {label: (row["bytes"], kl_of(row)) for label, row in rows.items()}
    return {
        label
        for label, (size, loss) in points.items()
        if not any(
            a <= size and b <= loss and (a, b) != (size, loss)
            for other, (a, b) in points.items()
            if other != label
        )
    }


def share_where_width_helps(rows: dict[str, dict[str, Any]]) -> float | None:
    """Of the bytes between the smallest and the largest row, the share where a narrow row loses less.

    At each budget the best row that fits counts; where quantising alone has none, a narrow one helps. None
    where no narrow row was measured, or no row of the original's widths.
    """
    alone = [(row["bytes"], kl_of(row)) for row in rows.values() if row["width"] == 1.0]
    points = [(row["bytes"], kl_of(row)) for row in rows.values()]
    if not alone or len(alone) == len(points):
        return None
    sizes = sorted({size for size, _ in points})
    steps = zip(sizes, sizes[1:], strict=False)
    helped = sum(after - size for size, after in steps if _best(points, size) < _best(alone, size))
    return float(helped / (sizes[-1] - sizes[0]))


def _best(points: Iterable[tuple[int, float]], budget: int) -> float:
    return min((loss for size, loss in points if size <= budget), default=math.inf)


def _verdict(rows: dict[str, dict[str, Any]], engine: str) -> list[str]:
    """A plain sentence: for which budgets narrowing helps."""
    name = _ENGINES[engine]
    share = share_where_width_helps(rows)
    if share is None:
        return [
            f"{name}: not enough rows to compare width with bits: measure the original and a narrow width.",
            "",
        ]
    narrow = sorted(label for label in front(rows) if rows[label]["width"] != 1.0)
    which = f" ({', '.join(narrow)})" if narrow else ""
    return [
        f"{name}: narrowing beats quantising alone{which} for {100 * share:.0f} % of the byte range between "
        "the smallest and the largest row; elsewhere quantising alone is better.",
        "",
    ]


def _ratios(quality: dict[str, Any]) -> list[str]:
    """Geometric mean and worst."""
    each = [text["models"][1]["perplexity_ratio"]["value"] for text in quality["texts"]]
    mean = math.exp(math.fsum(math.log(value) for value in each) / len(each))
    return [f"{mean:.3f}", f"{max(each):.3f}"]
