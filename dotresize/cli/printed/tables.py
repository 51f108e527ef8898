"""Results as rich tables."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ...bench.roofline.compress_cost import Sizes
    from ...compress.record.report import Cost, Report

__all__ = ["compression_tables", "plain_table", "quality_tables", "sizes_table"]


def compression_tables(
    report: "Report", cost: "Cost", quality: dict[str, Any] | None, output: Path
) -> "list[RenderableType]":
    """Sizes, fits, quality and cost of one compression."""
    tables: list[RenderableType] = [sizes_table(report)]
    if report.fits:
        tables.append(_fits(report))
    if quality is not None:
        tables.extend(quality_tables(quality))
    tables.append(_cost(cost))
    notes = [f"note: {note}" for note in report.notes]
    return [*tables, "\n".join([*notes, f"written: {output}", f"check it: dotresize verify {output}"])]


def plain_table(title: str, *columns: str) -> Table:
    """A table whose columns but the first hold numbers."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column(columns[0], overflow="fold")  # names of models and texts, whole
    for column in columns[1:]:
        table.add_column(column, justify="right", overflow="fold")
    return table


def sizes_table(report: "Sizes") -> Table:
    """Widths and counts of both models."""
    table = plain_table("Sizes", "", "dense", "narrow", "change")
    rows: list[tuple[str, int, int]] = [
        (name, getattr(report.dense, name), getattr(report.narrow, name))
        for name in _WIDTHS
        if name in _WIDTHS[:2] or getattr(report.dense, name) != getattr(report.narrow, name)
    ]
    rows += [(label, value(report.dense_counts), value(report.narrow_counts)) for label, value in _COUNTS]
    for label, dense, narrow in rows:
        change = f"{(narrow - dense) / dense:+.1%}" if dense else "new" if narrow else ""
        table.add_row(label, f"{dense:,}", f"{narrow:,}", change)
    return table


_WIDTHS = (
    "hidden_size",
    "intermediate_size",
    "num_key_value_heads",
    "num_attention_heads",
    "num_hidden_layers",
    "num_experts",
)
_COUNTS: list[tuple[str, Any]] = [
    ("parameters: embedding", lambda counts: counts.embedding_parameters),
    ("parameters: head (0 = tied)", lambda counts: counts.head_parameters),
    ("parameters: layers", lambda counts: counts.layer_parameters),
    ("parameters: all", lambda counts: counts.total_parameters),
    ("weight bytes", lambda counts: counts.weight_bytes),
    ("FLOPs per token", lambda counts: counts.flops_per_token),
    ("KV cache bytes per token", lambda counts: counts.kv_cache_bytes_per_token),
]


def _fits(report: "Report") -> Table:
    """Relative squared error on calibration tokens, unfitted -> fitted, a row per layer."""
    sites = list(dict.fromkeys(fit.site for fit in report.fits))
    title = "Relative squared fit error on calibration tokens, unfitted -> fitted"
    table = plain_table(title, "layer", *(site.replace(".", "\n") for site in sites))
    for layer in sorted({fit.layer for fit in report.fits}):
        cells = {
            fit.site: f"{fit.error_before:.3f} {fit.error_after:.3f}"
            for fit in report.fits
            if fit.layer == layer
        }
        name = "head" if layer == report.narrow.num_hidden_layers else str(layer)
        table.add_row(name, *(cells.get(site, "") for site in sites))
    return table


def quality_tables(quality: dict[str, Any]) -> "list[RenderableType]":
    """A table per text of `bench.quality.text_quality.quality_record`, their summary, and its warnings."""
    tables: list[RenderableType] = [_text_table(text) for text in quality["texts"]]
    if quality["summary"]:
        tables.append(_summary_table(quality["summary"]))
    return [*tables, *(f"warning: {line}" for line in quality["warnings"])]


def _text_table(text: dict[str, Any]) -> Table:
    title = f"Perplexity on {text['text']}, {text['windows']} x {text['window_tokens']} tokens"
    related = any(model["calibrated_on"] for model in text["models"])
    columns = ["model", "perplexity", "ratio to first", "KL to first, nats/token"]
    table = plain_table(title, *columns, *(["calibrated on"] if related else []))
    for model in text["models"]:
        table.add_row(
            model["name"],
            _estimate(model["perplexity"], 2),
            _estimate(model["perplexity_ratio"], 3),
            _estimate(model["kl_nats_per_token"], 3),
            *([CALIBRATED_ON[model["calibrated_on"]]] if related else []),
        )
    return table


def _summary_table(lines: list[dict[str, Any]]) -> Table:
    table = plain_table(
        "Ratio to first over several texts", "model", "texts", "geometric mean", "worst", "on"
    )
    for line in lines:
        table.add_row(
            line["name"],
            f"{line['texts']}, {line['scope']}",
            _estimate(line["geometric_mean"], 3),
            _estimate(line["worst"], 3),
            line["worst_text"],
        )
    return table


CALIBRATED_ON = {"text": "this very text", "kind": "text of this kind", None: ""}


def _estimate(estimate: dict[str, float | None] | None, digits: int) -> str:
    if estimate is None:
        return ""
    error = estimate["standard_error"]
    return f"{estimate['value']:.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")


def _cost(cost: "Cost") -> Table:
    table = plain_table(f"Cost on {cost.device}", "step", "seconds")
    for step, seconds in cost.seconds.items():
        table.add_row(step, f"{seconds:.1f}")
    memory = f"{cost.peak_memory_bytes / 1e9:.2f} GB"
    table.add_row("peak resident memory", memory)
    if cost.peak_device_memory_bytes is not None:
        table.add_row("peak device memory", f"{cost.peak_device_memory_bytes / 1e9:.2f} GB")
    return table
