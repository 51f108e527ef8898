"""Rates of the machine that will serve: measured here, or those of a data sheet."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch

from ..bench.record.results import MachineRates
from ..bench.roofline.machine_rates import measure_in_child
from ..errors import OptionError
from ..json_files import parse_json, read_json, validated

__all__ = ["DATA_SHEET_DTYPE", "Serving", "StepTime", "data_sheets", "serving_rates"]

DATA_SHEET_DTYPE = "bfloat16"


@dataclass(frozen=True, kw_only=True)
class DataSheet:
    """What a vendor says that a device can do."""

    name: str
    read_bytes_per_second: float
    matrix_flops_per_second: float  # dense bfloat16
    memory_bytes: int
    source: str


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """What a decode step takes in an engine: its share of the roofline, and time that no width shortens."""

    roofline_factor: float = 1.0
    layer_seconds: float = 0.0  # of each layer
    fixed_seconds: float = 0.0  # of each step

    def seconds(self, roofline_seconds: float, layers: int) -> float:
        """Of a model whose step the machine allows in `roofline_seconds`."""
        own = self.layer_seconds * layers + self.fixed_seconds
        return self.roofline_factor * roofline_seconds + own


@dataclass(frozen=True, kw_only=True)
class Serving:
    """Where a plan is to be fast."""

    name: str
    origin: str  # "measured here", or "data sheet, not measured: ..."
    rates: MachineRates
    step: StepTime | None = None  # of the engine; None: the roofline alone


def data_sheets() -> dict[str, DataSheet]:
    """Every device that comes with us, by the name that `--target` takes."""
    text = files(__package__).joinpath("hardware.json").read_text(encoding="utf-8")
    return validated(dict[str, DataSheet], parse_json(text, "hardware.json"), "hardware.json")


def serving_rates(target: str | None, dtype: str) -> Serving:
    """Rates of a device.

    Args:
        target: of `data_sheets`, a .json file with one such entry, or None: this machine, in seconds.
        dtype: that matrices are multiplied in; a data sheet has one only.

    Raises:
        OptionError: there is no such device, or the file does not describe one.
        EngineError: measuring failed.
    """
    if target is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        rates, _ = measure_in_child(device, dtype, torch.get_num_threads())
        return Serving(name="this machine", origin="measured here", rates=rates)
    sheet = _sheet(target)
    rates = MachineRates(
        device="cuda",
        dtype=DATA_SHEET_DTYPE,
        threads=1,
        matrix_flops_per_second=sheet.matrix_flops_per_second,
        read_bytes_per_second=sheet.read_bytes_per_second,
        seconds_spent=0.0,
    )
    return Serving(name=sheet.name, origin=f"data sheet, not measured: {sheet.source}", rates=rates)


def _sheet(target: str) -> DataSheet:
    known = data_sheets()
    if target in known:
        return known[target]
    if not target.endswith(".json"):
        raise OptionError(f"--target is {target!r}; choose one of {', '.join(known)}, or name a .json file.")
    return validated(DataSheet, read_json(Path(target), OptionError), target, OptionError)
