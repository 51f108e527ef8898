"""What a compression did: plain frozen records that go to JSON and back.

Everything here is deterministic for the same inputs and seed, except `Cost`, which is measured and
therefore kept out of the written checkpoint.
"""

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["BlockFit", "CalibrationPart", "CalibrationRecord", "Cost", "Counts", "Report", "Source", "Widths"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the dense model came from."""

    name: str  # what the user typed, or its last path component when that was a local path
    kind: str  # "directory" | "hub" | "gguf" | "demo"
    model_type: str
    architecture: str
    sha256: str  # over names and hashes of the weight files, see file_hash
    dequantised_from: str | None  # GGUF quantisation, e.g. "Q4_1", when the weights were dequantised
    licence: str | None
    revision: str | None = None  # commit of a model from a hub


@dataclass(frozen=True, kw_only=True)
class Widths:
    """The dimensions that decide shapes: what every description of a model is made of."""

    hidden_size: int
    intermediate_size: int  # 0 where nothing states it
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    num_experts: int = 0  # of each layer; 0 in a model without

    @property
    def cache_elements_per_token(self) -> int:
        """Keys and values of one token in all layers."""
        return 2 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Exact sizes. `flops_per_token` counts 2 per multiply-add of every weight matrix, head included."""

    embedding_parameters: int
    head_parameters: int  # 0 when the head is tied to the embedding
    layer_parameters: int  # decoder layers and the final norm
    weight_bytes: int
    flops_per_token: int
    kv_cache_bytes_per_token: int

    @property
    def total_parameters(self) -> int:
        """All stored parameters."""
        return self.embedding_parameters + self.head_parameters + self.layer_parameters

    @property
    def layer_bytes(self) -> int:
        """What the decoder layers and the final norm take of `weight_bytes`."""
        return self.weight_bytes * self.layer_parameters // self.total_parameters


@dataclass(frozen=True, kw_only=True)
class CalibrationPart:
    """One text of a mixture."""

    name: str
    share: float
    windows: int
    drawn: tuple[int, ...]  # which of the text's windows, in the order of the text
    text_sha256: str | None  # over the whole text; None in manifests that are older than this record


@dataclass(frozen=True, kw_only=True)
class CalibrationRecord:
    """Which tokens the fits saw."""

    name: str
    windows: int
    window_tokens: int
    sha256: str
    seed: int
    parts: tuple[CalibrationPart, ...] = ()  # a single text is one part

    @property
    def tokens(self) -> int:
        """Number of calibration tokens."""
        return self.windows * self.window_tokens


@dataclass(frozen=True, kw_only=True)
class BlockFit:
    """Relative squared error of one fitted map, on calibration tokens, before and after the fit."""

    layer: int  # num_hidden_layers stands for the head
    site: str  # e.g. "self_attn.readout", "mlp.readout", "mlp.gate_up", "mlp.down_proj"
    error_before: float
    error_after: float


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the run took. Not deterministic."""

    seconds: dict[str, float]  # step -> seconds
    peak_memory_bytes: int  # resident, whole process
    peak_device_memory_bytes: int | None  # CUDA allocator peak, None on CPU
    device: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """The deterministic record of one compression."""

    source: Source
    config: dict[str, Any]  # CompressConfig as it was resolved
    dense: Widths
    narrow: Widths
    dense_counts: Counts
    narrow_counts: Counts
    calibration: CalibrationRecord
    fits: tuple[BlockFit, ...]
    notes: tuple[str, ...]  # e.g. "width 0.8 was rounded to 459"
    versions: dict[str, str]  # package -> version
    kept_layers: tuple[int, ...] | None = None  # of the dense model, when whole layers went

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Report":
        """Inverse of `to_dict`."""
        return cls(
            source=Source(**data["source"]),
            config=data["config"],
            dense=Widths(**data["dense"]),
            narrow=Widths(**data["narrow"]),
            dense_counts=Counts(**data["dense_counts"]),
            narrow_counts=Counts(**data["narrow_counts"]),
            calibration=_calibration(data["calibration"]),
            fits=tuple(BlockFit(**fit) for fit in data["fits"]),
            notes=tuple(data["notes"]),
            versions=data["versions"],
            kept_layers=None if data.get("kept_layers") is None else tuple(data["kept_layers"]),
        )


def _calibration(data: dict[str, Any]) -> CalibrationRecord:
    """Also of a manifest from when there was one text, and `builtin` was Python's documentation."""
    fields = {key: value for key, value in data.items() if key != "parts"}
    if "parts" not in data:
        name = "builtin:documentation" if data["name"] == "builtin" else data["name"]
        older = CalibrationPart(name=name, share=1.0, windows=data["windows"], drawn=(), text_sha256=None)
        return CalibrationRecord(**fields, parts=(older,))
    parts = tuple(CalibrationPart(**{**part, "drawn": tuple(part["drawn"])}) for part in data["parts"])
    return CalibrationRecord(**fields, parts=parts)
