"""Open a model directory and score windows of tokens with it: by transformers, or by bare ONNX Runtime."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...compress.maths.precision import evaluation_dtype
from ...compress.weights.source import load_dense
from ...errors import MissingDependencyError
from ...export.disk.model_files import load_tokenizer, read_config, read_genai_config
from ...export.for_vllm.quantised_source import open_quantised
from ...foreign import reading
from .perplexity import Scorer, log_probabilities_of

__all__ = ["context_tokens", "load_tokenizer", "open_scorer"]


def open_scorer(directory: Path, model_format: str, *, device: torch.device, dtype: str = "auto") -> Scorer:
    """A function from a window of token ids to log-probabilities.

    Args:
        directory: a Hugging Face directory (exports for vLLM are such, too) or one of ONNX Runtime GenAI.
        model_format: "huggingface", "vllm" or "onnx".
        device: where it runs.
        dtype: of the weights in transformers; auto keeps the stored one, or takes float32 on a CPU that has
            no units for halves. An ONNX graph has its own.

    Raises:
        ModelError: it cannot be opened.
        MissingDependencyError: ONNX Runtime is needed and is not installed, or not for this device.
    """
    if model_format == "onnx":
        return _onnx_scorer(directory, device)
    return _transformers_scorer(directory, device, dtype)


def context_tokens(directory: Path, model_format: str) -> int | None:
    """Tokens that the model was made for at most; None when its config does not say."""
    if model_format == "onnx":
        return read_genai_config(directory).model.context_length
    found: int | None = read_config(directory).get("max_position_embeddings")
    return found


def _transformers_scorer(directory: Path, device: torch.device, dtype: str) -> Scorer:
    """A quantised model is scored as the floats that its weights stand for, its activations as they are."""
    quantised = open_quantised(str(directory))
    dense = quantised.load() if quantised else load_dense(str(directory), any_family=True)
    model = dense.model
    in_dtype = evaluation_dtype(device, model.dtype) if dtype == "auto" else getattr(torch, dtype)
    model.to(device, in_dtype)  # type: ignore[arg-type]
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
    decoder = read_genai_config(directory).model.decoder
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    with reading(directory, by="ONNX Runtime", advice="export it again"):
        path = directory / decoder.filename
        session = onnxruntime.InferenceSession(path, sess_options=options, providers=[provider])
    return _OnnxScorer(session, decoder.head_size, device)


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
