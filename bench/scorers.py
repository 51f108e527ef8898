"""Open a model directory and score windows of tokens with it: by transformers, or by bare ONNX Runtime."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from ..compress.source import load_dense
from ..errors import MissingDependencyError, ModelError
from .perplexity import log_probabilities_of
from .perplexity_in_turn import Scorer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["context_tokens", "load_tokenizer", "open_scorer"]

Format = Literal["huggingface", "vllm", "onnx"]
_CONFIGS = {
    "onnx": ("genai_config.json", ("model", "context_length")),
    "huggingface": ("config.json", ("max_position_embeddings",)),
}


def open_scorer(directory: Path, model_format: str, *, device: torch.device, dtype: str = "auto") -> Scorer:
    """A function from a window of token ids to log-probabilities.

    Args:
        directory: a Hugging Face directory (exports for vLLM are such, too) or one of ONNX Runtime GenAI.
        model_format: "huggingface", "vllm" or "onnx".
        device: where it runs.
        dtype: of the weights in transformers; auto keeps the stored one. An ONNX graph has its own.

    Raises:
        ModelError: it cannot be opened.
        MissingDependencyError: ONNX Runtime is needed and is not installed, or not for this device.
    """
    if model_format == "onnx":
        return _onnx_scorer(directory, device)
    return _transformers_scorer(directory, device, dtype)


def load_tokenizer(directory: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer of a directory of either format.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerBase

    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"{directory} has no tokenizer that transformers can read: {reason}") from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def context_tokens(directory: Path, model_format: str) -> int | None:
    """Tokens that the model was made for at most; None when its config does not say."""
    name, keys = _CONFIGS["onnx" if model_format == "onnx" else "huggingface"]
    value = _read_json(directory / name)
    for key in keys:
        value = value.get(key, {})
    return value if isinstance(value, int) else None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}); make the directory again") from error


def _transformers_scorer(directory: Path, device: torch.device, dtype: str) -> Scorer:
    model = load_dense(str(directory), any_family=True).model
    model.to(device)  # type: ignore[arg-type]
    if dtype != "auto":
        model.to(getattr(torch, dtype))
    return lambda window: log_probabilities_of(model, window)


def _onnx_scorer(directory: Path, device: torch.device) -> Scorer:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            'scoring an ONNX directory needs ONNX Runtime; install it with: pip install "dotresize[export]"'
        ) from error
    provider = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise MissingDependencyError(
            f"this onnxruntime has no {provider}, only {', '.join(onnxruntime.get_available_providers())}; "
            'install "dotresize[export-cuda]", or use --device cpu'
        )
    config = _read_json(directory / "genai_config.json")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    try:
        decoder = config["model"]["decoder"]
        path = directory / decoder["filename"]
        session = onnxruntime.InferenceSession(path, sess_options=options, providers=[provider])
    except (KeyError, RuntimeError, onnxruntime.capi.onnxruntime_pybind11_state.NoSuchFile) as error:
        raise ModelError(f"{directory} cannot be opened by ONNX Runtime: {error}") from error
    return _OnnxScorer(session, int(decoder["head_size"]), device)


class _OnnxScorer:
    """One pass with an empty cache over a whole window."""

    def __init__(self, session: Any, head_dim: int, device: torch.device) -> None:
        import numpy as np

        kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
        self._session, self._device = session, device
        self._inputs = {node.name for node in session.get_inputs()}
        self._cache = {
            node.name: np.zeros((1, node.shape[1], 0, head_dim), dtype=kinds[node.type])
            for node in session.get_inputs()
            if node.name.startswith("past_key_values.")
        }

    def __call__(self, window: Tensor) -> Tensor:
        ids = window[None].cpu().numpy()  # (1, t)
        feeds = {"input_ids": ids, "attention_mask": (ids * 0) + 1, **self._cache}
        if "position_ids" in self._inputs:
            feeds["position_ids"] = torch.arange(ids.shape[1])[None].numpy()
        (logits,) = self._session.run(["logits"], feeds)  # (1, t, v)
        return torch.log_softmax(torch.from_numpy(logits[0, :-1]).to(self._device).float(), dim=-1)
