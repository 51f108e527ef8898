"""`make bench-fidelity`: each claim of the paper beside our measurement, written to docs/FIDELITY.md.

Rows are kept in docs/FIDELITY.json as they finish; an interrupted run goes on where it stopped.
"""

import argparse
from pathlib import Path
from typing import Any

import torch

from dotresize.cli.printed.output import quiet_libraries
from dotresize.cli.printed.progress import ProgressBar
from dotresize.compress.families.shape import head_dim_of
from dotresize.compress.layers.survey import embed
from dotresize.compress.maths.transport import activation_cost, solve_transport
from dotresize.compress.record.progress import Progress
from dotresize.compress.text.calibration import draw_windows
from dotresize.compress.weights.source import DEMO_MODEL, DenseModel, load_dense
from dotresize.errors import InputError

from ..domains.suite import ENCYCLOPAEDIA
from ..shared import kept_results
from ..shared.evaluation import WINDOW_TOKENS, Scored, add_text_options, evaluation_texts
from ..shared.kept_dense import KEPT
from .compute import LayerShape, timed
from .identities import identities
from .page import render
from .plots import plots
from .rows import Setting, compressions, measure

PAGES = Path(__file__).resolve().parents[2]
_TIMED_TOKENS = 512


def run(
    setting: Setting, file: Path, progress: Progress, *, limit: int | None = None, kept: Path = KEPT
) -> dict[str, Any]:
    """Measure what the results file does not hold yet.

    Args:
        setting: what all rows share; another setting starts the file afresh.
        file: JSON, rewritten after each row.
        progress: told about every step.
        limit: rows to measure at most this time.
        kept: where the original's answers are, or go.

    Raises:
        InputError: there is no evaluation text of the calibration's kind, or no other.
    """
    if setting.own not in setting.evaluation or len(setting.evaluation) < 2:
        raise InputError(
            f"found the evaluation texts {', '.join(setting.evaluation) or 'none'}; expected {setting.own}, "
            "which the calibration is of, and others (see --wikitext and --domains)"
        )
    rows = compressions(setting)
    results = kept_results.load(file, setting, "rows") | {"labels": list(rows)}
    dense = load_dense(setting.model)
    if "identities" not in results:
        results["identities"] = identities(*_stream_and_plan(dense, setting))
        results["compute"] = _compute(dense)
        kept_results.store(file, results)
    scored = Scored(setting.model, setting, kept, progress)
    missing = [label for label in rows if label not in results["rows"]][:limit]
    for label in missing:
        results["rows"][label] = measure(dense, rows[label], scored, progress)
        kept_results.store(file, results)
    return results


def _stream_and_plan(dense: DenseModel, setting: Setting) -> tuple[torch.Tensor, torch.Tensor]:
    """The embedded calibration tokens, rms-scaled as a norm sees them, and the transport plan on them."""
    windows = draw_windows(
        setting.calibration,
        dense.tokenizer,
        windows=min(8, setting.calibration_windows),
        window_tokens=setting.window_tokens,
        seed=setting.seed,
    )
    stream = embed(dense, windows.token_ids).flatten(0, -2).double()
    moment = (stream.T @ stream / len(stream)).numpy()
    width = round(stream.shape[1] * setting.widths[0])
    kept = torch.from_numpy(moment.diagonal().copy()).topk(width).indices.sort().values.numpy()
    cost, sign = activation_cost(moment, kept, signed=False)
    transport = solve_transport(cost, sign, reg=0.01)
    return stream, torch.from_numpy(transport.matrix)


def _compute(dense: DenseModel) -> dict[str, Any]:
    config = dense.model.config
    head = head_dim_of(config)
    shape = LayerShape(
        config.hidden_size,
        config.intermediate_size,
        head * config.num_attention_heads,
        head * config.num_key_value_heads,
    )
    rows = timed(shape, tokens=_TIMED_TOKENS)
    return {"model": dense.source.name, "shape": list(shape), "tokens": _TIMED_TOKENS, "rows": rows}


def files_of(results: dict[str, Any], stem: str) -> dict[str, str]:
    """The page and its pictures, by file name, from the results alone."""
    drawn = plots(results)
    shown = "".join(f"\n![{name}]({stem}-{name}.svg)\n" for name in drawn)
    return {f"{stem}.md": render(results) + shown, **{f"{stem}-{name}.svg": drawn[name] for name in drawn}}


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEMO_MODEL)
    add_text_options(parser)
    parser.add_argument("--rows", type=int, help="measure at most this many rows this time")
    parser.add_argument("-o", type=Path, default=PAGES / "FIDELITY.md")
    arguments = parser.parse_args()
    quiet_libraries()
    with ProgressBar() as progress:
        setting = Setting(
            model=arguments.model,
            calibration=str(arguments.wikitext / "valid.txt"),
            own=ENCYCLOPAEDIA,
            evaluation=evaluation_texts(arguments, progress),
            evaluation_windows=arguments.evaluation_windows,
            evaluation_window_tokens=WINDOW_TOKENS,
        )
        results = run(setting, arguments.o.with_suffix(".json"), progress, limit=arguments.rows)
    for name, text in files_of(results, arguments.o.stem).items():
        arguments.o.with_name(name).write_text(text, encoding="utf-8")
    print(f"written: {arguments.o}")  # noqa: T201
