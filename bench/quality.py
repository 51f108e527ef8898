"""Which method keeps most quality: every method and compensation on one model, same tokens, same widths.

Rows are measured one after the other and kept in a JSON file as they finish, so that an interrupted
benchmark goes on where it stopped. The Markdown page is made from that file alone.
"""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from ..compress.activations import BATCH_TOKENS
from ..compress.calibration import Windows, draw_windows, leading_windows
from ..compress.config import CompressConfig
from ..compress.progress import Progress, Silent
from ..compress.run import compress
from ..compress.source import DenseModel, load_dense
from ..errors import InputError
from ..json_files import read_json, validated
from .compress_cost import forward_seconds, predicted_peak_bytes
from .environment import read_environment
from .memory_watch import MemoryWatch
from .perplexity import measure_perplexity

__all__ = ["Setting", "methods_at", "render", "run_quality"]

MEASURED_FIRST = (
    "hidden: pca, full",
    "mlp: magnitude, full",
    "hidden: dot, signed cost, full",
    "hidden: magnitude, full",
)
BUSY = 0.05  # share of all cores used by other processes from which on a row's seconds are marked


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all rows share."""

    model: str
    width: float
    mlp_width: float
    calibration: str
    calibration_windows: int
    window_tokens: int
    evaluation: str
    evaluation_windows: int | None
    evaluation_window_tokens: int
    seed: int


def methods_at(setting: Setting) -> dict[str, CompressConfig]:
    """Label -> configuration: the paper's method and its baselines on both axes."""
    shared = CompressConfig(
        width=setting.width,
        calibration=setting.calibration,
        calibration_windows=setting.calibration_windows,
        window_tokens=setting.window_tokens,
        seed=setting.seed,
    )
    hidden = {
        "hidden: pca, full": {"method": "pca"},
        "hidden: paper (dot, plain cost, none)": {"method": "dot", "signed": False, "compensate": "none"},
        "hidden: dot, plain cost, full": {"method": "dot", "signed": False},
        "hidden: pca, none": {"method": "pca", "compensate": "none"},
        "hidden: magnitude, full": {"method": "magnitude"},
        "hidden: magnitude, none": {"method": "magnitude", "compensate": "none"},
        "hidden: pca+dot, full": {"method": "pca+dot"},
        "hidden: dot, signed cost, full": {"method": "dot"},
        "hidden: pca, full without neuron steps": {"method": "pca", "neuron_steps": 0},
        "hidden: pca, readout": {"method": "pca", "compensate": "readout"},
    }
    paper_mlp = {"mlp_method": "dot", "mass": "uniform", "signed": False}
    exact_energy = {"mlp_method": "dot", "mass": "energy", "reg": 0.0}
    mlp = {
        "mlp: magnitude, full": {"mlp_method": "magnitude"},
        "mlp: paper (dot, uniform mass, plain cost, none)": {**paper_mlp, "compensate": "none"},
        "mlp: dot, uniform mass, plain cost, full": paper_mlp,
        "mlp: magnitude, full without neuron steps": {"mlp_method": "magnitude", "neuron_steps": 0},
        "mlp: magnitude, none": {"mlp_method": "magnitude", "compensate": "none"},
        "mlp: dot (exact), energy mass, signed cost, full": exact_energy,
        "mlp: magnitude, readout": {"mlp_method": "magnitude", "compensate": "readout"},
    }
    narrow_mlp = replace(shared, width=None, mlp_width=setting.mlp_width)
    rows = {label: replace(shared, **changes) for label, changes in hidden.items()}  # type: ignore[arg-type]
    rows |= {label: replace(narrow_mlp, **changes) for label, changes in mlp.items()}  # type: ignore[arg-type]
    return {
        label: rows[label] for label in (*MEASURED_FIRST, *(row for row in rows if row not in MEASURED_FIRST))
    }


def run_quality(setting: Setting, results_file: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Measure every row that the results file does not hold yet.

    Args:
        setting: what all rows share; another setting starts the file afresh.
        results_file: JSON, rewritten after each row.
        progress: told about every step.
    """
    progress = progress or Silent()
    results = _load(results_file, setting)
    dense = load_dense(setting.model)
    windows = leading_windows(
        setting.evaluation,
        dense.tokenizer,
        at_most=setting.evaluation_windows,
        window_tokens=setting.evaluation_window_tokens,
    )
    results["evaluation_tokens"] = windows.token_ids.numel()
    for label, config in methods_at(setting).items():
        if label not in results["rows"]:
            results["rows"][label] = _measure(dense, config, windows, progress)
            _store(results_file, results)
    return results


def _measure(
    dense: DenseModel, config: CompressConfig, windows: Windows, progress: Progress
) -> dict[str, Any]:
    calibration = draw_windows(
        config.calibration,
        dense.tokenizer,
        windows=config.calibration_windows,
        window_tokens=config.window_tokens,
        seed=config.seed,
    )
    forward = forward_seconds(dense, calibration.token_ids)
    base_bytes = psutil.Process().memory_info().rss
    with MemoryWatch(os.getpid()) as watch:
        result = compress(dense, config, progress=progress)
    forward = (forward + forward_seconds(dense, calibration.token_ids)) / 2
    original, narrow = measure_perplexity(
        {"dense": dense.model, "narrow": result.model}, windows, progress=progress
    )
    return {
        "dense": asdict(original),
        "narrow": asdict(narrow),
        "narrow_widths": asdict(result.report.narrow),
        "layer_fraction": result.report.narrow_counts.layer_parameters
        / result.report.dense_counts.layer_parameters,
        "total_parameters": result.report.narrow_counts.total_parameters,
        "seconds": sum(result.cost.seconds.values()),
        "forward_seconds": forward,
        "base_memory_bytes": base_bytes,
        "peak_memory_bytes": watch.report.peak_bytes,
        "predicted_peak_memory_bytes": predicted_peak_bytes(result.report, base_bytes, BATCH_TOKENS),
        "busy_elsewhere": watch.report.busy_elsewhere,
        "config": config.to_dict(),
    }


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """What an earlier run left."""

    setting: dict[str, Any]
    rows: dict[str, dict[str, Any]]


def _load(file: Path, setting: Setting) -> dict[str, Any]:
    fresh = {"setting": asdict(setting), "environment": _environment(), "rows": {}}
    if not file.is_file():
        return fresh
    kept: dict[str, Any] = read_json(file, InputError)
    validated(_Kept, kept, f"{file} (delete it to start anew)", InputError)
    return kept if kept.get("setting") == asdict(setting) else fresh


def _store(file: Path, results: dict[str, Any]) -> None:
    temporary = file.with_name(file.name + ".tmp")
    temporary.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    temporary.rename(file)


def _environment() -> dict[str, Any]:
    """The keys of files that are older than `Environment`."""
    found = read_environment()
    known = {key: found.versions[key] for key in ("python", "torch", "transformers")}
    return known | {
        "processor": found.processor,
        "cores": found.cores,
        "memory_bytes": found.memory_bytes,
        "cuda": found.gpu,
    }


def render(results: dict[str, Any], command: str, plot: str) -> str:
    """The Markdown page of a results file; `plot` is the name of the picture beside it."""
    setting, environment = results["setting"], results["environment"]
    calibration = f"{setting['calibration_windows']} x {setting['window_tokens']} tokens"
    software = ", ".join(
        f"{name} {environment[name.lower()]}" for name in ("Python", "torch", "transformers")
    )
    evaluation = f"{results['evaluation_tokens']:,} held-out tokens of {setting['evaluation']}"
    widths = f"hidden width {setting['width']:g} and MLP width {setting['mlp_width']:.4g}"
    lines = [
        "# Which method keeps most quality",
        "",
        f"Model {setting['model']}, {widths}, one axis at a time.",
        f"Calibration: {calibration} of {setting['calibration']}.",
        f"Evaluation: {evaluation}, in windows of {setting['evaluation_window_tokens']}.",
        f"Seed {setting['seed']}. Perplexity ± standard error over windows; the ratio is paired window by",
        "window. Passes: seconds of the compression over those of one dense forward pass over the same",
        "tokens, the mean of one just before it and one just after it. Memory: highest resident of the",
        "process, dense model included, beside the prediction of `bench/compress_cost.py`. *: other",
        f"processes used more than {BUSY:.0%} of the machine meanwhile.",
        "",
        f"Made by `{command}` on {environment['processor']}, {environment['cores']} cores; {software}.",
        "",
        "| method | perplexity | ratio to dense | KL, nats/token | layer params | all params "
        "| seconds | passes | peak GB | predicted |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    rows = results["rows"]
    dense = next(iter(rows.values()))["dense"]
    lines.append(f"| dense | {_plus_minus(dense['perplexity'], 2)} | 1 | 0 | 100 % | | | | | |")
    lines += [_row(label, row) for label, row in sorted(rows.items(), key=_axis_then_perplexity)]
    missing = [label for label in methods_at(Setting(**setting)) if label not in rows]
    if missing:
        lines += [
            "",
            f"Not measured yet: {'; '.join(missing)}. The same command measures them and keeps the rest.",
        ]
    return "\n".join([*lines, "", f"![Perplexity relative to the original, by method]({plot})"]) + "\n"


def _row(label: str, row: dict[str, Any]) -> str:
    narrow = row["narrow"]
    marked = "*" if (row["busy_elsewhere"] or 0.0) > BUSY else ""
    cells = (
        label,
        _plus_minus(narrow["perplexity"], 2),
        _plus_minus(narrow["perplexity_ratio"], 3),
        f"{narrow['kl_nats_per_token']['value']:.3f}",
        f"{row['layer_fraction']:.1%}",
        f"{row['total_parameters'] / 1e6:.1f} M",
        f"{row['seconds']:.0f}{marked}",
        f"{row['seconds'] / row['forward_seconds']:.1f}{marked}",
        f"{row['peak_memory_bytes'] / 1e9:.2f}",
        f"{row['predicted_peak_memory_bytes'] / 1e9:.2f}",
    )
    return f"| {' | '.join(cells)} |"


def _axis_then_perplexity(item: tuple[str, dict[str, Any]]) -> tuple[str, float]:
    label, row = item
    return label.split(":")[0], row["narrow"]["perplexity"]["value"]


def _plus_minus(estimate: dict[str, float | None], digits: int) -> str:
    error = estimate["standard_error"]
    return f"{estimate['value']:.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")
