"""Open an ONNX directory with bare ONNX Runtime and run the reference prompts. See `__init__.py`."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from safetensors.numpy import save_file

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def main(artefact: str, prompts_json: str, out: str, provider: str) -> None:
    """Load, run every prompt with an empty cache, then continue greedily with the grown one."""
    prompts = json.loads(Path(prompts_json).read_text(encoding="utf-8"))["prompts"]
    genai_config = json.loads((Path(artefact) / "genai_config.json").read_text(encoding="utf-8"))
    head_dim = int(genai_config["model"]["decoder"]["head_size"])
    session = onnxruntime.InferenceSession(Path(artefact) / "model.onnx", providers=[PROVIDERS[provider]])
    if PROVIDERS[provider] not in session.get_providers():
        raise RuntimeError(f"RuntimeError: onnxruntime has no {PROVIDERS[provider]} here")
    logits, greedy, margins = {}, [], []
    for index, prompt in enumerate(prompts):
        first, cache = step(
            session, np.array([prompt["token_ids"]], dtype=np.int64), empty_cache(session, head_dim)
        )
        logits[str(index)] = np.ascontiguousarray(first[0], dtype=np.float32)
        tokens, gaps = continue_greedily(session, first, cache, prompt)
        greedy.append(tokens)
        margins.append(gaps)
    save_file(logits, Path(out) / "logits.safetensors")
    assert "dotresize" not in sys.modules, "the check must not depend on dotresize"
    result = {
        "runtime": f"onnxruntime {onnxruntime.__version__} {provider}",
        "greedy_token_ids": greedy,
        "greedy_margins": margins,
    }
    (Path(out) / "result.json").write_text(json.dumps(result), encoding="utf-8")


def step(session: Any, ids: Any, past: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Feed ids ``(1, T)`` after a cache; returns logits ``(1, T, V)`` and the grown cache."""
    feeds = dict(past)
    seen = next(value.shape[2] for name, value in feeds.items() if name.endswith(".key"))
    feeds["input_ids"] = ids
    feeds["attention_mask"] = np.ones((1, seen + ids.shape[1]), dtype=np.int64)
    names = {node.name for node in session.get_inputs()}
    if "position_ids" in names:
        feeds["position_ids"] = np.arange(seen, seen + ids.shape[1], dtype=np.int64)[None]
    outputs = [node.name for node in session.get_outputs()]
    values = dict(zip(outputs, session.run(outputs, feeds), strict=True))
    logits = values.pop("logits")
    return logits, {name.replace("present.", "past_key_values."): value for name, value in values.items()}


def empty_cache(session: Any, head_dim: int) -> dict[str, Any]:
    """A cache of no tokens for every `past_key_values.*` input ``(1, heads, 0, head_dim)``.

    The builder leaves the last size open in the graph (`kv_cache_dim`) and states it in genai_config.json.
    """
    kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
    cache = {}
    for node in session.get_inputs():
        if node.name.startswith("past_key_values."):
            cache[node.name] = np.zeros((1, node.shape[1], 0, head_dim), dtype=kinds[node.type])
    return cache


def continue_greedily(
    session: Any, logits: Any, cache: dict[str, Any], prompt: dict[str, Any]
) -> tuple[list[int], list[float]]:
    """The best token and its margin, as often as the reference did, past any end of text."""
    tokens, margins = [], []
    for _ in prompt["greedy_token_ids"]:
        last = logits[0, -1].astype(np.float32)
        second, best = np.argsort(last)[-2:]
        tokens.append(int(best))
        margins.append(float(last[best] - last[second]))
        logits, cache = step(session, np.array([[best]], dtype=np.int64), cache)
    return tokens, margins


if __name__ == "__main__":
    main(*sys.argv[1:])
