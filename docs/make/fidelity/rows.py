"""The compressions that the fidelity page compares: which ones, measured one by one, kept as they finish."""

from dataclasses import dataclass
from typing import Any

from dotresize.compress.record.config import CompressConfig
from dotresize.compress.record.progress import Progress
from dotresize.compress.run import compress
from dotresize.compress.weights.source import DenseModel
from dotresize.errors import ConvergenceError

from ..shared.evaluation import Evaluation, Scored

__all__ = ["REGULARISATIONS", "Setting", "compressions", "measure"]

REGULARISATIONS = (0.0, 0.003, 0.01, 0.03, 0.1)
_FITTED_REGULARISATIONS = (0.003, 0.01, 0.1)


@dataclass(frozen=True, kw_only=True)
class Setting(Evaluation):
    """What all rows share.

    Attributes:
        model: MODEL to narrow.
        calibration: text of the fits.
        own: the evaluation text of the calibration's kind; the others are of other kinds.
        window_tokens: tokens per calibration window.
        calibration_windows: of every row that does not vary them.
        token_counts: calibration windows of the rows that do.
        widths: fractions of the hidden width for the regularisation rows (20 and 30 % in the paper).
        mlp_width: fraction of the MLP rows.
        seed: draws the calibration windows.
    """

    model: str
    calibration: str
    own: str
    window_tokens: int = 512
    calibration_windows: int = 32
    token_counts: tuple[int, ...] = (8, 16, 32, 64, 128, 256)
    widths: tuple[float, float] = (0.8, 0.7)
    mlp_width: float = 2 / 3
    seed: int = 42


def compressions(setting: Setting) -> dict[str, CompressConfig]:
    """Label -> configuration, cheap ones first, so that an interrupted run has most claims covered."""

    def config(windows: int = setting.calibration_windows, **changes: Any) -> CompressConfig:
        return CompressConfig(
            calibration=setting.calibration,
            calibration_windows=windows,
            window_tokens=setting.window_tokens,
            seed=setting.seed,
            **changes,
        )

    paper: dict[str, Any] = {"method": "dot", "signed": False}
    rows: dict[str, CompressConfig] = {}
    for width in setting.widths:
        for reg in REGULARISATIONS:
            rows[f"hidden {width:g}: dot, lambda {reg:g}, none"] = config(
                width=width, reg=reg, compensate="none", **paper
            )
    width = setting.widths[0]
    for method in ("magnitude", "pca", "pca+dot"):
        rows[f"hidden {width:g}: {method}, none"] = config(width=width, method=method, compensate="none")
    mlp_paper: dict[str, Any] = {
        "mlp_method": "dot",
        "mass": "uniform",
        "signed": False,
        "compensate": "none",
    }
    rows["mlp: magnitude, none"] = config(mlp_width=setting.mlp_width, compensate="none")
    rows["mlp: dot, uniform mass, none"] = config(mlp_width=setting.mlp_width, **mlp_paper)
    for method in ("magnitude", "pca", "pca+dot"):
        rows[f"hidden {width:g}: {method}, full"] = config(width=width, method=method)
    for width in setting.widths:
        for reg in _FITTED_REGULARISATIONS:
            rows[f"hidden {width:g}: dot, lambda {reg:g}, full"] = config(width=width, reg=reg, **paper)
    for windows in setting.token_counts:
        rows[f"tokens {windows * setting.window_tokens}: mlp magnitude, full"] = config(
            windows, mlp_width=setting.mlp_width
        )
    return rows


def measure(dense: DenseModel, config: CompressConfig, scored: Scored, progress: Progress) -> dict[str, Any]:
    """Compress, then score on every text; JSON-ready. A plan that does not converge is a result too.

    Args:
        dense: the loaded original.
        config: of the row.
        scored: scores models beside the original.
        progress: told about every step.
    """
    try:
        result = compress(dense, config, progress=progress)
    except ConvergenceError as error:
        return {"failed": str(error), "config": config.to_dict()}
    seconds = sum(result.cost.seconds.values())
    return {"quality": scored.of_model(result.model), "seconds": seconds, "config": config.to_dict()}
