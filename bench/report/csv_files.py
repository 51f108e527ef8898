"""The numbers of a run as CSV, for spreadsheets and data frames: the same that results.json holds."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import fields
from io import StringIO

from ..judge.rates import rate_points
from ..record.results import Comparison, Results
from ..record.samples import quantile

__all__ = ["comparisons_csv", "rates_csv", "samples_csv"]

_COMPARED = [field.name for field in fields(Comparison) if field.name != "pairs"]


def comparisons_csv(results: Results) -> str:
    """A row per metric, load and narrow model; a value that is not known is empty."""
    return _csv(_COMPARED, ([getattr(each, name) for name in _COMPARED] for each in results.comparisons))


def samples_csv(results: Results) -> str:
    """A row per sample, and one without a value for each point that failed."""
    columns = ("model", "scenario", "load", "round", "status", "metric", "sample", "value")
    rows: list[list[object]] = []
    for each in results.measurements:
        point = [each.model, each.scenario, each.load, each.round + 1, each.status]
        samples = [[name, n, x] for name, values in each.samples.items() for n, x in enumerate(values)]
        rows += [[*point, *sample] for sample in samples] or [[*point, None, None, None]]
    return _csv(columns, rows)


def rates_csv(results: Results) -> str:
    """A row per model and request rate; p99 of however few requests there were."""
    columns = ["model", "arrive_per_second", "finish_per_second", "requests"]
    columns += [f"{name}_seconds_{share}" for name in ("ttft", "tpot") for share in ("p50", "p99")]
    rows = [
        [point.model, point.rate, point.finished_per_second, len(point.ttft_seconds)]
        + [
            quantile(each, share)
            for each in (point.ttft_seconds, point.tpot_seconds)
            for share in (0.5, 0.99)
        ]
        + [point.goodput, point.good_share]
        for point in rate_points(results)
    ]
    return _csv([*columns, "goodput_per_second", "good_share"], rows)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return stream.getvalue()
