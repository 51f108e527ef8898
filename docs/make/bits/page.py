"""docs/BITS.md from the results of `maker.run` alone: the same results, the same bytes."""

import math
from collections.abc import Iterable, Iterator
from statistics import median
from typing import Any

from ..shared.kept_results import machines
from ..shared.markdown import failures, table
from ..shared.measured import mean_kl, ratio_cells

__all__ = ["bytes_of", "engine_of", "front", "render", "share_where_width_helps"]

_ENGINES = {"vllm": "vLLM", "onnx": "ONNX Runtime", "gguf": "llama.cpp"}


def render(results: dict[str, Any], plot: str) -> str:
    """The page as Markdown.

    Args:
        results: of `maker.run`.
        plot: name of the file of `plot.bits_svg`, beside the page.
    """
    setting, rows = results["setting"], results["rows"]
    heads = ["model", "MB", "KL, nats per token", "perplexity ratio", "worst", "tokens per second", "front"]
    best = {label for engine in _ENGINES for label in front(bytes_of(_of(rows, engine)), rows)}
    cells = [
        [
            label,
            f"{row['bytes'] / 1e6:.1f}",
            f"{mean_kl(row['quality']):.4f}",
            *ratio_cells(row["quality"]),
            _speed_cell(results["speed"].get(label)),
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
            f"Measured on {machines(results)}.",
            "",
            *table(heads, cells),
            "",
            *failures(results["failed"]),
            f"![KL over bytes, and over speed where it was measured]({plot})",
            "",
            *(line for engine in _ENGINES for line in _verdicts(_of(rows, engine), results["speed"], engine)),
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
        "what ONNX Runtime answers; that of the rows for llama.cpp is that of the stored weights in float32, "
        "which transformers reads from the file. Speed is one sequence decoding, each in its engine, in "
        "turns within one run, the median of its runs and their span; rounding to the nearest has the "
        "kernels and shapes of the calibrated row and is not timed apart, and llama.cpp is not timed at all. "
        "A row is on the front if none of its engine is smaller and closer."
    )


def engine_of(bits: str) -> str:
    """Which engine the weights are written for: vllm, onnx or gguf."""
    return next((engine for engine in ("onnx", "gguf") if bits.startswith(f"{engine} ")), "vllm")


def _of(rows: dict[str, dict[str, Any]], engine: str) -> dict[str, dict[str, Any]]:
    return {label: row for label, row in rows.items() if engine_of(row["bits"]) == engine}


def bytes_of(rows: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Label -> bytes of the weights."""
    return {label: row["bytes"] for label, row in rows.items()}


def front(costs: dict[str, float], rows: dict[str, dict[str, Any]]) -> set[str]:
    """Labels of the rows that no other row beats in both cost and KL.

    Args:
        costs: label -> what is paid, such as bytes or seconds per token; rows without one do not compete.
        rows: of the results.
    """
    points = {label: (cost, mean_kl(rows[label]["quality"])) for label, cost in costs.items()}
    return {
        label
        for label, (cost, loss) in points.items()
        if not any(
            a <= cost and b <= loss and (a, b) != (cost, loss)
            for other, (a, b) in points.items()
            if other != label
        )
    }


def share_where_width_helps(costs: dict[str, float], rows: dict[str, dict[str, Any]]) -> float | None:
    """Of the costs between the least and the greatest, the share where a narrow row loses less.

    At each budget the best row that fits counts; where quantising alone has none, a narrow one helps. None
    where no narrow row was measured, or no row of the original's widths. Arguments as of `front`.
    """
    points = [(cost, mean_kl(rows[label]["quality"])) for label, cost in costs.items()]
    alone = [
        (cost, mean_kl(rows[label]["quality"]))
        for label, cost in costs.items()
        if rows[label]["width"] == 1.0
    ]
    if not alone or len(alone) == len(points):
        return None
    budgets = sorted({cost for cost, _ in points})
    steps = zip(budgets, budgets[1:], strict=False)
    helped = sum(after - budget for budget, after in steps if _best(points, budget) < _best(alone, budget))
    return float(helped / (budgets[-1] - budgets[0]))


def _best(points: Iterable[tuple[float, float]], budget: float) -> float:
    return min((loss for cost, loss in points if cost <= budget), default=math.inf)


def _speed_cell(runs: list[float] | None) -> str:
    """Median, and the span of the runs."""
    return f"{median(runs):.1f} ({min(runs):.1f} to {max(runs):.1f})" if runs else ""


def _verdicts(rows: dict[str, dict[str, Any]], speed: dict[str, list[float]], engine: str) -> Iterator[str]:
    """Plain sentences: for which budgets of bytes, and of time, narrowing helps."""
    yield from _verdict(bytes_of(rows), rows, engine, "bytes")
    seconds = {label: 1.0 / median(speed[label]) for label in rows if label in speed}
    if seconds:
        yield from _verdict(seconds, rows, engine, "seconds per token")


def _verdict(
    costs: dict[str, float], rows: dict[str, dict[str, Any]], engine: str, unit: str
) -> tuple[str, str]:
    name = f"{_ENGINES[engine]}, {unit}"
    share = share_where_width_helps(costs, rows)
    if share is None:
        return f"{name}: not enough rows: measure the original and a narrow width.", ""
    narrow = sorted(label for label in front(costs, rows) if rows[label]["width"] != 1.0)
    which = f" ({'; '.join(narrow)})" if narrow else ""
    return (
        f"{name}: narrowing beats quantising alone{which} for {100 * share:.0f} % of the range between the "
        "smallest and the largest row; elsewhere quantising alone is as good or better.",
        "",
    )
