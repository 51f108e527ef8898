"""The rows of the method benchmark: methods on both axes, each with several calibrations."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dotresize.compress.record.config import CompressConfig

from .texts import longer

__all__ = ["Setting", "axis_of", "has_more", "methods_at", "rows_at"]

# The methods that every calibration is measured with; the others with the first calibration only.
HEADLINE = (
    "hidden: pca, full",
    "mlp: magnitude, full",
    "mlp: fisher, full",
    "hidden: pca, none",
    "hidden: dot, signed cost, full",
    "mlp: dot (exact), energy mass, signed cost, full",
    "mlp: magnitude, none",
)
DEFAULT = "builtin"  # the calibration that is measured with more work and more tokens, too
MORE = 8  # times the tokens
_THOROUGH, _TOKENS = "thorough", f"{MORE} x the tokens"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all rows share."""

    model: str
    width: float
    mlp_width: float
    calibrations: dict[str, list[str]]  # name -> texts with optional shares, see `compress.mixture`
    calibration_windows: int
    window_tokens: int
    texts: list[str]  # to evaluate on
    evaluation_windows: int | None  # of each text
    evaluation_window_tokens: int
    seed: int


def rows_at(
    setting: Setting, *, quick: bool = False, only: tuple[str, ...] = ()
) -> dict[str, CompressConfig]:
    """Label -> configuration, in the order in which rows are measured: what tells most comes first.

    Args:
        setting: what all rows share.
        quick: leave out the methods that only the first calibration is measured with.
        only: keep the rows whose label holds one of these; all when it is empty.
    """
    rows = dict(_rows(setting, quick))
    return {label: row for label, row in rows.items() if not only or any(part in label for part in only)}


def _rows(setting: Setting, quick: bool) -> Iterator[tuple[str, CompressConfig]]:
    tables = {name: methods_at(setting, texts) for name, texts in setting.calibrations.items()}
    for method in HEADLINE:
        for name, table in tables.items():
            yield f"{method} [{name}]", table[method]
    if not quick and tables:
        name, table = next(iter(tables.items()))
        yield from ((f"{method} [{name}]", row) for method, row in table.items() if method not in HEADLINE)
        name = DEFAULT if DEFAULT in tables else name
        more = _with_more(setting, tables[name], setting.calibrations[name])
        yield from ((f"{method} [{name}]", row) for method, row in more.items())


def _with_more(
    setting: Setting, table: dict[str, CompressConfig], texts: list[str]
) -> dict[str, CompressConfig]:
    """Label -> configuration: local training behind the fits, fits on more tokens, and both."""
    trained = "mlp: fisher, full"
    rows = {f"{trained}, {_THOROUGH}": replace(table[trained], effort="thorough")}
    longest, windows = tuple(longer(texts, MORE)), setting.calibration_windows * MORE
    for method in (trained, "hidden: pca, full"):
        rows[f"{method}, {_TOKENS}"] = replace(
            table[method], calibration=longest, calibration_windows=windows
        )
    both = replace(rows[f"{trained}, {_TOKENS}"], effort="thorough")
    return {**rows, f"{trained}, {_THOROUGH}, {_TOKENS}": both}


def axis_of(label: str) -> str:
    """Which width a row changes: "hidden" or "mlp"."""
    return label.split(": ", 1)[0]


def has_more(label: str) -> bool:
    """Whether a row took more work or text than the others, which it is not to be compared with."""
    return _THOROUGH in label or _TOKENS in label


def methods_at(setting: Setting, texts: list[str]) -> dict[str, CompressConfig]:
    """Label -> configuration: the paper's method, SliceGPT's (pca, none), MoDeGPT's (nystrom), and ours."""
    shared = CompressConfig(
        width=setting.width,
        calibration=tuple(texts),
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
        "hidden: pca, full, quick": {"method": "pca", "effort": "quick"},
    }
    paper_mlp = {"mlp_method": "dot", "mass": "uniform", "signed": False}
    exact_energy = {"mlp_method": "dot", "mass": "energy", "reg": 0.0}
    mlp = {
        "mlp: magnitude, full": {"mlp_method": "magnitude"},
        "mlp: fisher, full": {"mlp_method": "fisher"},
        "mlp: paper (dot, uniform mass, plain cost, none)": {**paper_mlp, "compensate": "none"},
        "mlp: dot, uniform mass, plain cost, full": paper_mlp,
        "mlp: magnitude, full without neuron steps": {"mlp_method": "magnitude", "neuron_steps": 0},
        "mlp: magnitude, none": {"mlp_method": "magnitude", "compensate": "none"},
        "mlp: dot (exact), energy mass, signed cost, full": exact_energy,
        "mlp: nystrom, full": {"mlp_method": "nystrom"},
        "mlp: nystrom, none": {"mlp_method": "nystrom", "compensate": "none"},
        "mlp: magnitude, readout": {"mlp_method": "magnitude", "compensate": "readout"},
        "mlp: fisher, none": {"mlp_method": "fisher", "compensate": "none"},
        "mlp: magnitude, full, quick": {"mlp_method": "magnitude", "effort": "quick"},
    }
    narrow_mlp = replace(shared, width=None, mlp_width=setting.mlp_width)
    rows = {label: replace(shared, **changes) for label, changes in hidden.items()}  # type: ignore[arg-type]
    rows |= {label: replace(narrow_mlp, **changes) for label, changes in mlp.items()}  # type: ignore[arg-type]
    return rows
