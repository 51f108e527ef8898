"""What SmolLM2 loses with a smaller head dimension, beside an MLP cut by as many parameters; prints a table.

    python -m docs.make.head_dim [--head-dim 48]

Nothing is fitted on either side: the question is which axis has less to lose.
"""

import argparse
import sys
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from dotresize.cli.printed.output import quiet_libraries
from dotresize.cli.printed.progress import ProgressBar
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.text.calibration_windows import calibration_windows
from dotresize.compress.weights.source import DEMO_MODEL, load_dense

from ..shared.evaluation import (
    WINDOW_TOKENS,
    Evaluation,
    Scored,
    add_text_options,
    dotresize,
    evaluation_texts,
)
from ..shared.kept_dense import KEPT
from ..shared.markdown import table
from ..shared.measured import mean_kl, ratio_cells
from .reduced import attended_moments, keep_pairs, keep_value_directions

_CALIBRATION_WINDOWS, _CALIBRATION_TOKENS = 32, 512
_CACHE = Path("build/head-dim")  # of self text


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEMO_MODEL)
    parser.add_argument("--head-dim", type=int, default=48)
    parser.add_argument("--calibration", default="builtin")
    add_text_options(parser)
    arguments = parser.parse_args()
    quiet_libraries()
    with ProgressBar() as progress:
        evaluation = Evaluation(
            evaluation=evaluation_texts(arguments, progress),
            evaluation_windows=arguments.evaluation_windows,
            evaluation_window_tokens=WINDOW_TOKENS,
        )
        scored = Scored(arguments.model, evaluation, KEPT, progress)
        rows = _rows(arguments, scored)
    print("\n".join(table(["change", "parameters", "KL", "ratio", "worst"], rows)))  # noqa: T201


def _rows(arguments: argparse.Namespace, scored: Scored) -> list[list[str]]:
    dense = load_dense(arguments.model)
    model: Any = dense.model.float()
    config = CompressConfig(
        intermediate_size=1.0,
        calibration=(arguments.calibration,),
        calibration_windows=_CALIBRATION_WINDOWS,
        window_tokens=_CALIBRATION_TOKENS,
    )
    texts = calibration_windows(config, dense, torch.device("cpu"), cache=_CACHE)
    moments = attended_moments(model, texts.token_ids)
    size, rank = model.config.head_dim, arguments.head_dim
    attention = sum(w.numel() for n, w in model.model.layers[0].named_parameters() if "self_attn" in n)
    saved = attention * (size - rank) // size
    rows = []

    def measure(label: str, changed: Any, share: float) -> None:
        quality = scored.of_model(changed)
        rows.append(
            [label, f"-{share * saved:,.0f} a layer", f"{mean_kl(quality):.4f}", *ratio_cells(quality)]
        )
        print(" | ".join(rows[-1]), file=sys.stderr)  # noqa: T201

    values = deepcopy(model)
    keep_value_directions(values, moments, rank)
    measure(f"values and outputs of rank {rank}", values, 0.5)
    for first in range(0, (size - rank) // 2 + 1, 4):
        pairs = deepcopy(model)
        keep_pairs(pairs, first, rank // 2)
        measure(f"queries and keys, pairs {first} to {first + rank // 2 - 1}", pairs, 0.5)
    hidden, mlp = model.config.hidden_size, model.config.intermediate_size
    width = mlp - round(saved / (3 * hidden))
    with TemporaryDirectory() as folder:
        narrow = Path(folder) / "narrow"
        cut = ["--intermediate-size", str(width), "--compensate", "none", "--evaluation", "none"]
        cut += ["--calibration", arguments.calibration, "--calibration-windows", str(_CALIBRATION_WINDOWS)]
        cut += ["--window-tokens", str(_CALIBRATION_TOKENS)]
        dotresize(["compress", arguments.model, "-o", str(narrow), *cut])
        measure(f"MLP {mlp} to {width}, no fits", load_dense(str(narrow)).model.float(), 1.0)
    return rows
