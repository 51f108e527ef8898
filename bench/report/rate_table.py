"""Requests that arrived at a rate, as a table and as words."""

from ..judge.rates import RatePoint, objectives, rate_points
from ..judge.wording import MISSING, seconds_text, significant
from ..record.results import Results
from ..record.samples import quantile
from .content import Table
from .tables import LEAST_SAMPLES

__all__ = ["rate_table", "rate_words"]


def rate_table(results: Results) -> Table | None:
    """p50 and p99 of TTFT and TPOT, and goodput, by model and rate; None without rates."""
    points = rate_points(results)
    if not points:
        return None
    columns = ["model", ">arrive, requests/s", ">finish, requests/s"]
    columns += [f">{name} {share}" for name in ("TTFT", "TPOT") for share in ("p50", "p99")]
    columns += [">goodput, requests/s", ">good"] * bool(objectives(results)) + [">requests"]
    rows = [_row(point) for point in points]
    notes = ["p99 needs at least 100 requests."] if any(MISSING in row for row in rows) else []
    return Table(caption="Request rates, all rounds together", columns=columns, rows=rows, notes=notes)


def _row(point: RatePoint) -> list[str]:
    shown = [
        seconds_text(quantile(values, share)) if len(values) >= LEAST_SAMPLES[share] else MISSING
        for values in (point.ttft_seconds, point.tpot_seconds)
        for share in (0.5, 0.99)
    ]
    good = []
    if point.goodput is not None and point.good_share is not None:
        good = [significant(point.goodput), f"{point.good_share * 100:.0f} %"]
    rates = [f"{point.rate:.4g}", significant(point.finished_per_second)]
    return [point.model, *rates, *shown, *good, f"{len(point.ttft_seconds):,}"]


def rate_words(results: Results) -> list[str]:
    """What is asked here and not by requests in flight; empty without rates."""
    if not rate_points(results):
        return []
    asked = objectives(results)
    good = f"A request is good that keeps a {asked}; goodput counts good requests only."
    unknown = "With --slo-ttft-seconds and --slo-tpot-seconds, goodput says how many are answered in time."
    return [
        "Here requests arrive at random at a fixed mean rate and wait when the engine is busy, as users' "
        "requests do; with a fixed number in flight, the next one is sent only when another one ended, and "
        f"no queue can grow. {good if asked else unknown}"
    ]
