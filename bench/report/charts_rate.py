"""The charts of requests that arrive at a rate: waiting times and goodput against it."""

from collections.abc import Sequence

from ..judge.rates import RatePoint, objectives, rate_points
from ..judge.wording import keys, metric, scaled_seconds, significant
from ..record.results import Results
from ..record.samples import quantile
from .chart_style import MUTED, Chart, Legend, Panel, colours, model_legend, plot

__all__ = ["rate_chart"]


def rate_chart(results: Results, source: str) -> Chart | None:
    """TTFT, TPOT and, with objectives, goodput against the rate; None without rates."""
    points = rate_points(results)
    if not points:
        return None
    panels = [_latencies(results, points, name) for name in ("ttft_seconds", "tpot_seconds")]
    caption = "All rounds together; requests arrive at random (Poisson), however many wait. "
    if objectives(results):
        panels.append(_goodput(results, points))
        caption += f"Good: {objectives(results)}; the thin line is as many as arrive. "
    return Chart(
        title="Under a given request rate",
        panels=panels,
        caption=caption + "Where a curve bends upwards, requests come faster than they are served.",
        source=source,
        legend=[
            *model_legend([model.name for model in results.models], keys(results.models)),
            Legend(colour="--muted", shape="box", text="full line: median; broken line: 99th percentile"),
        ],
    )


def _latencies(results: Results, points: Sequence[RatePoint], name: str) -> Panel:
    largest = max(quantile(getattr(point, name), 0.99) for point in points)
    factor, unit = scaled_seconds(largest)
    shades = colours([model.name for model in results.models])
    label = f"{metric(name).name}, median and 99th percentile in {unit}: " + "; ".join(
        f"{point.model} at {point.rate:g} requests/s "
        + " and ".join(significant(quantile(getattr(point, name), share) * factor) for share in (0.5, 0.99))
        for point in points
    )
    with plot(f"rate-{name}", label) as drawing:
        for model, shade in shades.items():
            chosen = [point for point in points if point.model == model]
            for share, style in ((0.5, "-"), (0.99, "--")):
                heights = [quantile(getattr(point, name), share) * factor for point in chosen]
                places = [point.rate for point in chosen]
                drawing.axes.plot(
                    places, heights, style, marker="o", markersize=3, color=shade, linewidth=1.3
                )
        drawing.axes.set_ylim(bottom=0)
        drawing.axes.set_xlabel("requests/s")
        drawing.axes.set_title(f"{metric(name).label}, {unit}")
    return drawing.finished()


def _goodput(results: Results, points: Sequence[RatePoint]) -> Panel:
    shades = colours([model.name for model in results.models])
    label = "Goodput in requests/s: " + "; ".join(
        f"{point.model} at {point.rate:g} requests/s {significant(point.goodput or 0.0)}" for point in points
    )
    with plot("rate-goodput", label) as drawing:
        rates = sorted({point.rate for point in points})
        drawing.axes.plot(rates, rates, color=MUTED, linewidth=0.7)
        for model, shade in shades.items():
            chosen = [point for point in points if point.model == model]
            places, heights = [p.rate for p in chosen], [p.goodput or 0.0 for p in chosen]
            drawing.axes.plot(places, heights, marker="o", markersize=3, color=shade, linewidth=1.3)
        drawing.axes.set_ylim(bottom=0)
        drawing.axes.set_xlabel("requests/s")
        drawing.axes.set_title("Goodput, requests/s")
    return drawing.finished()
