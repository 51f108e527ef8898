"""What adapters of several ranks repair and cost; docs/ADAPTERS.md.

    python -m docs.make.adapters --base DIR [--base DIR ...] [--rank 8 --rank 32] [--speed]

A base is a narrow checkpoint, or a quantised export for vLLM. Rows are kept in docs/ADAPTERS.json as they
finish; an interrupted run goes on where it stopped. A row that fails is kept with its reason and tried again.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dotresize.cli.printed.output import quiet_libraries
from dotresize.cli.printed.progress import ProgressBar
from dotresize.compress.record.progress import Progress
from dotresize.compress.weights.dense import DenseModel
from dotresize.compress.weights.source import load_dense
from dotresize.errors import DotresizeError, InputError
from dotresize.export.contract import manifest
from dotresize.export.contract.manifest import MANIFEST_NAME
from dotresize.export.for_vllm.processor import int4_settings, processor_flags
from dotresize.export.for_vllm.quantised_source import open_quantised
from dotresize.export.process.child import run_child
from dotresize.recover.adapters.adapter import VLLM_RANKS

from ..shared import kept_results
from ..shared.evaluation import (
    ChildError,
    Fitted,
    Scored,
    add_fitted_options,
    add_options,
    dotresize,
    fitted,
    say_failures,
)
from ..shared.kept_dense import KEPT
from .page import render

__all__ = ["run"]

_DTYPE, _TOKENS, _ROUNDS = "bfloat16", 64, 7  # of the speed


def run(
    setting: Fitted,
    bases: Sequence[Path],
    ranks: Sequence[int],
    file: Path,
    builds: Path,
    progress: Progress,
    *,
    speed: bool = False,
    kept: Path = KEPT,
) -> dict[str, Any]:
    """Measure what the results file does not hold yet.

    Args:
        setting: what all rows share; another setting starts the file afresh.
        bases: directories that adapters are fitted for; each is a row without one, too.
        ranks: of the adapters.
        file: JSON, rewritten after each row.
        builds: where adapters go, and stay.
        progress: told about every window that is scored.
        speed: also measure decoding in vLLM, without and with each adapter.
        kept: where the original's answers are, or go.
    """
    results = kept_results.load(file, setting, "rows", "speed", "failed")
    builds.mkdir(parents=True, exist_ok=True)
    scored = Scored(setting.model, setting, kept, progress)
    for base in bases:
        for rank in (0, *ranks):
            label = f"{base.name}, rank {rank}" if rank else base.name
            adapter = builds / f"{base.name}-rank-{rank}" if rank else None
            results["failed"].pop(label, None)
            try:
                if label not in results["rows"]:
                    results["rows"][label] = _row(setting, base, adapter, rank, scored)
                if speed and label not in results["speed"]:
                    results["speed"][label] = _speed(base, adapter, rank)
            except DotresizeError as error:
                results["failed"][label] = str(error)
            kept_results.store(file, results)
    return results


def _row(setting: Fitted, base: Path, adapter: Path | None, rank: int, scored: Scored) -> dict[str, Any]:
    """Bytes, seconds and quality of a base with or without an adapter."""
    seconds = 0.0
    if adapter is not None and not (adapter / MANIFEST_NAME).is_file():
        started = time.perf_counter()
        teacher = ["--teacher", setting.model, "--rank", str(rank)]
        dotresize(["adapter", str(base), *teacher, *setting.options, "-o", str(adapter)])
        seconds = time.perf_counter() - started
    files = [each for folder in (base, adapter) if folder for each in folder.glob("*.safetensors")]
    return {
        "base": base.name,
        "rank": rank,
        "seconds": seconds,
        "bytes": sum(each.stat().st_size for each in files),
        "quality": scored.of_model(_adapted(base, adapter)),
    }


def _adapted(base: Path, adapter: Path | None) -> Any:
    """The base in float32, with the adapter added to its matrices by PEFT."""
    opened = open_quantised(str(base))
    dense: DenseModel = opened.load() if opened else load_dense(str(base))
    model = dense.model.float()
    if adapter is None:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, adapter).merge_and_unload().eval()


def _speed(base: Path, adapter: Path | None, rank: int) -> dict[str, list[float]]:
    """Tokens per second of each round.

    Raises:
        ChildError: vLLM cannot run it.
    """
    room = next((each for each in VLLM_RANKS if each >= rank), rank)
    lines: list[str] = []
    precision = manifest.read(base).precision
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", **int4_settings(precision, _DTYPE, processor_flags())}
    place = "none" if adapter is None else str(adapter.resolve())
    script = str(Path(__file__).with_name("speed_child.py"))
    asked = [str(base.resolve()), place, str(room), _DTYPE, str(_TOKENS), str(_ROUNDS)]
    with TemporaryDirectory() as folder:
        run_child([script, *asked], folder=Path(folder), on_line=lines.append, environment=environment)
    found = [line for line in lines if line.startswith('{"without"')]
    if not found:
        raise ChildError(f"vLLM measured nothing of {base.name}; its last line: {(lines or ['none'])[-1]}")
    speeds: dict[str, list[float]] = json.loads(found[-1])
    return speeds


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, action="append", required=True, help="repeat it")
    parser.add_argument("--rank", type=int, action="append", help="default: 8, 32, 128")
    parser.add_argument("--speed", action="store_true", help="also decode speed in vLLM")
    add_fitted_options(parser)
    add_options(parser, builds="build/adapters", page="ADAPTERS.md")
    arguments = parser.parse_args()
    missing = [str(base) for base in arguments.base if not (base / MANIFEST_NAME).is_file()]
    if missing:
        raise InputError(f"{', '.join(missing)}: no {MANIFEST_NAME} there; expected what dotresize wrote")
    quiet_libraries()
    with ProgressBar() as progress:
        results = run(
            fitted(arguments, progress),
            arguments.base,
            arguments.rank or (8, 32, 128),
            arguments.o.with_suffix(".json"),
            arguments.builds,
            progress,
            speed=arguments.speed,
        )
    say_failures(results["failed"])
    arguments.o.write_text(render(results), encoding="utf-8")
    print(f"written: {arguments.o}")  # noqa: T201
