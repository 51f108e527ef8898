"""What a sweep knows about its points, in `sweep.json`, versioned, and as a Markdown table."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ...errors import InputError, ManifestError, OptionError
from ...export.contract import manifest
from ...export.disk.staging import write_atomically
from ...json_files import read_json, validated
from ...version import __version__
from ..record.results import write as write_results
from .grid import SweepPoint, SweepSettings
from .point import Outcome, bench_results, is_done
from .rows import fronts, merge, original_row, point_row

__all__ = [
    "COLUMNS",
    "SWEEP_NAME",
    "check_same_sweep",
    "collect",
    "screen_table",
    "script",
    "table",
    "write_state",
    "write_sweep_report",
]

SCHEMA_VERSION = 1
SWEEP_NAME = "sweep.json"


@dataclass(frozen=True, kw_only=True)
class _Made:
    name: str
    commands: list[str]


@dataclass(frozen=True, kw_only=True)
class _State:
    """What is read from an earlier sweep.json."""

    schema_version: int
    points: list[_Made]


def check_same_sweep(points: Sequence[SweepPoint], directory: Path) -> None:
    """Refuse to mix points that were made by other commands.

    Raises:
        OptionError: An earlier sweep made a point of the same name differently.
        InputError: `sweep.json` cannot be read.
    """
    path = directory / SWEEP_NAME
    if not path.is_file():
        return
    data = read_json(path, InputError)
    version = data.get("schema_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InputError(f"{path} has schema {version}, newer than this dotresize reads; upgrade dotresize")
    found = validated(_State, data, f"{path} (choose another output)", InputError)
    known = {each.name: each.commands for each in found.points}
    for point in points:
        commands = [step.command for step in point.steps]
        if point.name in known and known[point.name] != commands:
            changed = next(old for old, new in zip_longest(known[point.name], commands) if old != new)
            raise OptionError(
                f"{directory} holds {point.name} made with other options (`{changed}`); repeat them to "
                "resume, or choose another output"
            )


def collect(
    settings: SweepSettings, points: Sequence[SweepPoint], outcomes: Mapping[str, Outcome], command: str
) -> dict[str, Any]:
    """The content of `sweep.json`, from what is on disk and how the steps ended."""
    results = {point.name: found for point in points if (found := bench_results(point)) is not None}
    rows = {name: point_row(found, name, verified=None) for name, found in results.items()}
    original = original_row(next(iter(results.values()))) if results else None
    front = fronts(original, list(rows.values())) if original else {"speed": [], "memory": []}
    return {
        "schema_version": SCHEMA_VERSION,
        "tool_version": __version__,
        "command": command,
        "model": settings.model,
        "hidden": settings.hidden,
        "mlp": settings.mlp,
        "methods": settings.methods,
        "complete": all(_status(point, outcomes) == "done" for point in points),
        "original": asdict(original) if original else None,
        "pareto_front": front,
        "points": [
            {
                "name": point.name,
                "width": point.config.width,
                "mlp_width": point.config.mlp_width,
                "method": point.config.method if point.config.width is not None else None,
                "model_directory": point.model_directory,
                "commands": [step.command for step in point.steps],
                "status": _status(point, outcomes),
                "failed_step": outcomes[point.name].failed_step if point.name in outcomes else "",
                "error": outcomes[point.name].error if point.name in outcomes else "",
                "verified": _verified(point),
                "row": asdict(rows[point.name]) | {"verified": _verified(point)}
                if point.name in rows
                else None,
            }
            for point in points
        ],
    }


def _status(point: SweepPoint, outcomes: Mapping[str, Outcome]) -> str:
    if point.name in outcomes and outcomes[point.name].failed_step:
        return "failed"
    return "done" if all(is_done(point, step.name) for step in point.steps) else "waiting"


def _verified(point: SweepPoint) -> bool | None:
    try:
        return manifest.read(Path(point.model_directory)).verified
    except ManifestError:
        return None


def write_state(sweep: dict[str, Any], points: Sequence[SweepPoint], directory: Path) -> None:
    """Write sweep.json, sweep.md and commands.sh, each in one step."""
    write_atomically(directory / SWEEP_NAME, json.dumps(sweep, indent=1, allow_nan=False) + "\n")
    write_atomically(directory / "sweep.md", _markdown(sweep))
    write_atomically(directory / "commands.sh", script(points))


def write_sweep_report(sweep: dict[str, Any], points: Sequence[SweepPoint], directory: Path) -> None:
    """Write the results of all points together, with the report; nothing when no point was measured."""
    from ..report.page import write_report

    results = {point.name: found for point in points if (found := bench_results(point)) is not None}
    if not results:
        return
    merged = merge(results, command=sweep["command"], complete=sweep["complete"])
    merged.warnings = [*_failures(sweep), *merged.warnings]
    write_results(merged, directory / "results.json")
    write_report(merged, directory)


def _failures(sweep: dict[str, Any]) -> list[str]:
    return [
        f"{point['name']}: {point['failed_step']} failed: {point['error']}"
        for point in sweep["points"]
        if point["status"] == "failed"
    ]


def script(points: Sequence[SweepPoint]) -> str:
    """The commands of every point, one line each: any line can run on any machine that sees the directory."""
    lines = [
        "#!/bin/sh",
        "# One point of the sweep per line. `dotresize sweep ... --resume` gathers the results.",
    ]
    return (
        "\n".join([*lines, *(" && ".join(step.command for step in point.steps) for point in points)]) + "\n"
    )


COLUMNS = (
    "point",
    "hidden",
    "MLP",
    "parameters",
    "weight MB",
    "perplexity",
    "ratio",
    "KL, nats/token",
    "decode",
    "prefill",
    "verified",
    "on the front of",
)
SCREEN_COLUMNS = ("point", "weight MB", "perplexity", "ratio", "decode", "verified", "on the front of")


def table(sweep: dict[str, Any]) -> list[list[str]]:
    """Cells of `COLUMNS`, a row per model, the original first."""
    front = sweep["pareto_front"]
    rows = []
    if sweep["original"]:
        cells = _cells(sweep["original"], front, "")
        rows.append(
            [
                cell or "1" if name in ("ratio", "decode", "prefill") else cell
                for name, cell in zip(COLUMNS, cells, strict=True)
            ]
        )
    for point in sweep["points"]:
        state = {True: "yes", False: "NO", None: "not yet"}[point["verified"]]
        if point["row"]:
            rows.append(_cells(point["row"], front, state))
        else:
            why = f"failed: {point['failed_step']}" if point["status"] == "failed" else "not measured"
            rows.append([point["name"], *[""] * 7, why, "", state, ""])
    return rows


def screen_table(sweep: dict[str, Any]) -> list[list[str]]:
    """The header and rows of `table` with the columns that fit a terminal."""
    chosen = [COLUMNS.index(name) for name in SCREEN_COLUMNS]
    return [[cells[place] for place in chosen] for cells in (list(COLUMNS), *table(sweep))]


def _cells(row: dict[str, Any], front: dict[str, list[str]], verified: str) -> list[str]:
    return [
        row["name"],
        f"{row['hidden_size']:,}",
        f"{row['intermediate_size']:,}",
        f"{row['parameters'] / 1e6:,.1f} M",
        f"{row['weight_bytes'] / 1e6:,.1f}",
        _estimate(row["perplexity"], 2),
        _estimate(row["perplexity_ratio"], 3),
        _estimate(row["kl_nats_per_token"], 3),
        _speedup(row["decode"]),
        _speedup(row["prefill"]),
        verified,
        ", ".join(name for name, members in front.items() if row["name"] in members),
    ]


def _estimate(estimate: dict[str, float | None] | None, digits: int) -> str:
    if estimate is None:
        return ""
    error = estimate["standard_error"]
    return f"{estimate['value']:.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")


def _speedup(comparison: dict[str, Any] | None) -> str:
    if comparison is None:
        return ""
    low, high = comparison["low"], comparison["high"]
    return f"{comparison['speedup']:.2f}x" + ("" if low is None else f" ({low:.2f} to {high:.2f})")


def _markdown(sweep: dict[str, Any]) -> str:
    lines = [
        f"# Sweep of {sweep['model']}",
        "",
        "Speed-ups are against the original measured beside each point, with their 95 % interval; ± is a",
        "standard error. A point is on a front when no other is better in both: perplexity and speed, or",
        "perplexity and weight bytes.",
        "",
        f"Made by `{sweep['command']}` with dotresize {sweep['tool_version']}.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|" + "---|" * len(COLUMNS),
        *(f"| {' | '.join(cells)} |" for cells in table(sweep)),
    ]
    failures = _failures(sweep)
    if failures:
        lines += ["", "Failed:", "", *(f"* {failure}" for failure in failures)]
    return "\n".join(lines) + "\n"
