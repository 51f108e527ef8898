"""docs/SCALE.md from the kept runs of `scale.py`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..shared.markdown import table
from .model import Shape
from .predicted import predicted

__all__ = ["KEPT", "PAGE", "render"]

_KINDS = {"single": "in float32", "double": "in float64", "fast": "in float32 with reduced precision"}
DOCS = Path(__file__).parents[2]
PAGE, KEPT = DOCS / "SCALE.md", DOCS / "SCALE.json"


def render(results: dict[str, Any]) -> str:
    """The page; parts that have not been measured are left out."""
    lines = [
        "# Size",
        "",
        "Written by `make bench-scale` from docs/SCALE.json. Weights are random, streams lie on the disk "
        "(`--stream-memory 0`).",
    ]
    if results["depth"]:
        lines += _depth(results)
    if results["large"]:
        lines += _large(results)
    if results["ranks"]:
        lines += _ranks(results)
    if results["layer"]:
        lines += _layer(results["layer"])
    layer = results["layer"]
    lines += predicted(layer["bound_seconds"] / layer["seconds"] if layer else None)
    return "\n".join(lines) + "\n"


def slope(peaks: dict[int, float]) -> float:
    """What each further layer adds, by least squares."""
    mean_x, mean_y = sum(peaks) / len(peaks), sum(peaks.values()) / len(peaks)
    spread = sum((x - mean_x) ** 2 for x in peaks)
    return sum((x - mean_x) * (y - mean_y) for x, y in peaks.items()) / spread


def _depth(results: dict[str, Any]) -> Iterator[str]:
    shape = Shape(**results["setting"]["narrow"])
    layer = shape.layer_bytes
    yield from ("", "## Peak resident memory against depth", "")
    yield (
        f"Llama, hidden {shape.hidden}, MLP {shape.mlp}, narrowed to 0.75 of both, full compensation; "
        f"a layer takes {layer / 1e6:.2f} MB as stored (bfloat16). {_machines(results['depth'])}"
    )
    yield ""
    yield from table(
        ("layers", "weights, MB", "peak resident, MB"),
        (
            (depth, f"{2 * run['parameters'] / 1e6:,.0f}", f"{run['peak_bytes'] / 1e6:,.1f}")
            for depth, run in results["depth"].items()
        ),
    )
    if len(results["depth"]) > 1:
        grows = slope({int(depth): run["peak_bytes"] for depth, run in results["depth"].items()})
        yield ""
        yield f"Each further layer adds {grows / 1e3:,.1f} kB, {100 * grows / layer:.2f} % of a stored layer."


def _machines(runs: dict[str, Any]) -> str:
    return f"Machine: {' and '.join(sorted({run['machine'] for run in runs.values()}))}."


def _large(results: dict[str, Any]) -> Iterator[str]:
    run, setting = results["large"], results["setting"]
    yield from ("", "## A model larger than its memory", "")
    yield (
        f"{run['parameters'] / 1e9:.2f} B parameters, {2 * run['parameters'] / 1e9:.2f} GB of weights in "
        f"{setting['large']['layers']} layers, `{setting['large_options']}`, under a limit of "
        f"{setting['limit_bytes'] / 2**30:.0f} GiB by {run['mechanism']}: {run['seconds']:,.0f} s"
        f"{' after an interruption' if run['resumed'] else ''}, at most {run['peak_bytes'] / 1e9:.2f} GB "
        f"resident. {_machines({'': run})}"
    )


def _ranks(results: dict[str, Any]) -> Iterator[str]:
    setting = results["setting"]
    yield from ("", "## Several processes", "")
    yield (
        f"The model of the first table with {setting['ranks_layers']} layers, `{setting['ranks_options']}`, "
        "gloo; one process has both cores, of several each has one. Difference: the largest of all logits of "
        "256 tokens, in float32. "
        f"{_machines(results['ranks'])}"
    )
    yield ""
    yield from table(
        ("processes", "narrowing, s", "whole command, s", "difference to one"),
        (
            (
                ranks,
                f"{run['steps']['narrow']:,.1f}",
                f"{run['seconds']:,.1f}",
                f"{run['largest_difference']:.1e}",
            )
            for ranks, run in results["ranks"].items()
        ),
    )


def _layer(found: dict[str, Any]) -> Iterator[str]:
    rates, operations = found["rates"], found["operations"]
    yield from ("", "## One layer of an 8 B model", "")
    yield (
        f"Hidden 4096 to 3072, MLP 14336 to 10752, {found['tokens']:,} tokens, full compensation, one "
        "thread; seconds of the processor. Rates of large products: "
        + ", ".join(f"{rates[kind] / 1e9:,.0f} GFLOP/s {said}" for kind, said in _KINDS.items())
        + f". {_machines({'': found})}"
    )
    yield ""
    yield (
        "At these rates the products of `plan/run_cost/work.py` ("
        + ", ".join(f"{operations[kind] / 1e12:.2f} TFLOP {said}" for kind, said in _KINDS.items())
        + f") take {found['bound_seconds']:,.0f} s; measured {found['seconds']:,.0f} s: "
        f"{100 * found['bound_seconds'] / found['seconds']:.0f} % of the bound."
    )
    yield ""
    yield from table(("part", "s"), ((part, f"{seconds:,.1f}") for part, seconds in found["parts"].items()))
