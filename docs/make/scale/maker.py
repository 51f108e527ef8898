"""What `dotresize compress` takes as models grow, and `docs/SCALE.md`: `python -m docs.make.scale`.

    python -m docs.make.scale                       all parts (an hour on two cores); goes on where it was
    python -m docs.make.scale --parts depth ranks --depths 4 64 --ranks 1 2    some of them

Every finished run is kept in docs/SCALE.json. Each is a process of its own; what it had resident at most is
what the kernel says when it has ended.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dotresize.bench.process.environment import read_environment

from ..shared.kept_results import load, store
from .model import Shape
from .page import KEPT, PAGE, render
from .run import FOLDER, ROOT, compress, hard_limit

PARTS = ("depth", "large", "ranks", "layer")
RANKS = (1, 2, 4)
DEPTHS = (4, 8, 16, 32, 64)
LIMIT_BYTES = 4 * 2**30
WIDTHS = "--hidden-size 0.75 --intermediate-size 0.75 --calibration builtin:documentation"
NARROW = Shape(hidden=512, mlp=1536, layers=0, heads=8, groups=4, head_dim=64, vocabulary=2048)
LARGE = Shape(hidden=3072, mlp=8192, layers=28, heads=24, groups=8, head_dim=128, vocabulary=32000)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all kept runs share."""

    narrow: Shape = NARROW
    large: Shape = LARGE
    depth_options: str = f"{WIDTHS} --calibration-windows 4 --window-tokens 128 --stream-memory 0"
    large_options: str = (
        f"{WIDTHS} --calibration-windows 4 --window-tokens 128 --stream-memory 0.5 --compensate readout"
    )
    limit_bytes: int = LIMIT_BYTES
    ranks_options: str = f"{WIDTHS} --calibration-windows 64 --window-tokens 128 --dtype float32"
    ranks_layers: int = 4


def main() -> None:
    """Measure what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--depths", nargs="*", type=int, default=list(DEPTHS))
    parser.add_argument("--ranks", nargs="*", type=int, default=list(RANKS))
    arguments, setting = parser.parse_args(), Setting()
    results = load(KEPT, setting, *PARTS)
    measures: dict[str, Callable[[Setting, dict[str, Any]], None]] = {
        "depth": partial(_depth, depths=arguments.depths),
        "large": _large,
        "ranks": partial(_ranks, counts=arguments.ranks),
        "layer": _layer,
    }
    for part in arguments.parts:
        measures[part](setting, results)
    PAGE.write_text(render(results), encoding="utf-8")


def _depth(setting: Setting, results: dict[str, Any], *, depths: list[int]) -> None:
    for depth in depths:
        if str(depth) not in results["depth"]:
            run = compress(
                f"depth-{depth}", replace(setting.narrow, layers=depth), setting.depth_options.split()
            )
            results["depth"][str(depth)] = {"machine": _machine(), **asdict(run)}
            store(KEPT, results)


def _large(setting: Setting, results: dict[str, Any]) -> None:
    if not results["large"]:
        mechanism, limit = hard_limit(setting.limit_bytes)
        run = compress("large", setting.large, setting.large_options.split(), limit=limit)
        results["large"] = {"machine": _machine(), "mechanism": mechanism, **asdict(run)}
        store(KEPT, results)


def _ranks(setting: Setting, results: dict[str, Any], *, counts: list[int]) -> None:
    """How far the logits are from those of one process, and the time."""
    shape = replace(setting.narrow, layers=setting.ranks_layers)
    kept = FOLDER / "ranks-logits.pt"
    for ranks in counts:
        if str(ranks) not in results["ranks"] or (ranks == 1 and not kept.is_file()):
            found: list[Tensor] = []
            look = partial(_look, found)
            run = compress(f"ranks-{ranks}", shape, setting.ranks_options.split(), ranks=ranks, look=look)
            if ranks == 1:
                torch.save(found[0], kept)
            apart = float((found[0] - torch.load(kept, weights_only=True)).abs().max())
            found_here = {"machine": _machine(), "largest_difference": apart}
            results["ranks"][str(ranks)] = {**found_here, **asdict(run)}
            store(KEPT, results)


def _machine() -> str:
    found = read_environment()
    return f"{found.processor}, {found.cores} cores"


def _look(found: list[Tensor], output: Path) -> None:
    found.append(_logits(output))


@torch.no_grad()
def _logits(directory: Path) -> Tensor:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    found: Tensor = model(torch.arange(256)[None]).logits
    return found


def _layer(setting: Setting, results: dict[str, Any]) -> None:
    if not results["layer"]:
        command = [sys.executable, "-m", "docs.make.scale.layer"]
        said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
        results["layer"] = {"machine": _machine(), **json.loads(said.splitlines()[-1])}
        store(KEPT, results)
