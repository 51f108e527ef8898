"""Whether a success was right: what was read is what the files hold, what was written is whole.

Everything is read here by safetensors, torch and gguf themselves, then compared with what dotresize loads.
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["find_lies"]

HEAD = "lm_head.weight"
PROMPT = [[0, 5, 17, 300, 42, 7, 99, 120]]


def find_lies(arguments: list[str], model: Path | None, output: Path | None, printed: str) -> list[str]:
    """Why the success of a command is wrong, or an empty list."""
    lies = []
    if arguments[0] == "perplexity" and ("NaN" in printed or "Infinity" in printed):
        lies.append("it prints a perplexity that is not finite")
    if model is not None and arguments[0] in ("compress", "perplexity"):
        lies += _loaded_lies(model)
    if model is not None and arguments[0] in ("export", "verify"):
        lies += _promise_lies(model)
    if output is not None and arguments[0] == "compress":
        lies += _checkpoint_lies(output)
    if output is not None and model is not None and arguments[:2] == ["export", "vllm"]:
        lies += _strict_lies(output) or _difference(_stored(output), _stored(model))
    if output is not None and model is not None and arguments[:2] == ["export", "gguf"]:
        lies += _gguf_lies(output, model)
    return lies


def _loaded_lies(model: Path) -> list[str]:
    """The weights that dotresize computes with are the ones in the files, all of them, and finite."""
    from dotresize.compress.weights.source import load_dense

    dense = load_dense(str(model), any_family=True)
    loaded = dict(dense.model.state_dict())
    if model.suffix == ".gguf":
        return _same_values(_gguf_values(model), _sorted_values(loaded))
    stored = _stored(model)
    if dense.model.config.tie_word_embeddings and HEAD not in stored:
        loaded.pop(HEAD, None)
    return _difference(loaded, stored) + _unusual(stored)


def _promise_lies(model: Path) -> list[str]:
    """A checkpoint of ours says which bytes it holds, and they are the tensors of its config."""
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(model)
    record = json.loads((model / "dotresize.json").read_text())
    return [
        f"{name} has another content than its manifest says"
        for name, entry in record["files"].items()
        if hashlib.sha256((model / name).read_bytes()).hexdigest() != entry["sha256"]
    ] + _strict_lies(model)


def _strict_lies(model: Path) -> list[str]:
    """The stored tensors are those of the model that the config describes, and finite."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(model)
    with torch.device("meta"):
        expected = {
            name: value.shape for name, value in AutoModelForCausalLM.from_config(config).state_dict().items()
        }
    found = {name: value.shape for name, value in _stored(model).items()}
    if config.tie_word_embeddings and HEAD not in found:
        expected.pop(HEAD, None)
    wrong = sorted(name for name in expected | found if expected.get(name) != found.get(name))
    return [f"{name} is not as the config says" for name in wrong] + _unusual(_stored(model))


def _checkpoint_lies(output: Path) -> list[str]:
    """What was written is complete, finite, and answers finitely in stock transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    lies = _unusual(_stored(output))
    loaded: Any = AutoModelForCausalLM.from_pretrained(output, output_loading_info=True, dtype=torch.float32)
    network, loading = loaded
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if loading[kind]:
            lies.append(f"output has {kind}: {sorted(map(str, loading[kind]))[:3]}")
    prompt = torch.tensor(PROMPT) % network.config.vocab_size
    with torch.no_grad():
        if not network(prompt).logits.isfinite().all():
            lies.append("output answers with values that are not finite")
    return lies


def _stored(model: Path) -> "dict[str, Tensor]":
    """Every tensor of a directory's weight files, in the order in which transformers looks for them."""
    import torch
    from safetensors.torch import load_file

    index = model / "model.safetensors.index.json"
    if (model / "model.safetensors").is_file():
        return load_file(model / "model.safetensors")
    if index.is_file():
        shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        return {name: value for shard in shards for name, value in load_file(model / shard).items()}
    stored: dict[str, Tensor] = torch.load(model / "pytorch_model.bin", weights_only=True)
    return stored


def _difference(found: "dict[str, Tensor]", expected: "dict[str, Tensor]") -> list[str]:
    """Names and values, in the dtype of what was found."""
    import torch

    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    lies = [f"not in the files: {name}" for name in extra] + [f"not loaded: {name}" for name in missing]
    for name in sorted(found.keys() & expected.keys()):
        if not torch.equal(found[name], expected[name].to(found[name].dtype)):
            lies.append(f"{name} has other values than its file")
    return lies


def _unusual(tensors: "dict[str, Tensor]") -> list[str]:
    lies = [f"{name} is {value.dtype}" for name, value in tensors.items() if not value.is_floating_point()]
    return lies + [
        f"{name} holds values that are not finite"
        for name, value in tensors.items()
        if not value.double().isfinite().all()
    ]


def _gguf_lies(output: Path, model: Path) -> list[str]:
    return _same_values(_gguf_values(output), _sorted_values(_stored(model)))


def _gguf_values(path: Path) -> list[Any]:
    """The values of each tensor in ascending order: GGUF stores some rows in another order."""
    import numpy as np
    from gguf import GGUFReader
    from gguf.quants import dequantize

    found = [dequantize(each.data, each.tensor_type).ravel() for each in GGUFReader(path).tensors]
    return [np.sort(values.astype(np.float32)) for values in found]


def _sorted_values(tensors: "dict[str, Tensor]") -> list[Any]:
    import numpy as np

    return [np.sort(value.float().numpy().ravel()) for value in tensors.values()]


def _same_values(found: list[Any], expected: list[Any]) -> list[str]:
    """Each tensor of one side has its match on the other; a tied head may be there once or twice."""
    import numpy as np

    lies = [] if all(np.isfinite(values).all() for values in found) else ["GGUF values are not finite"]
    known = {hashlib.sha256(values.tobytes()).hexdigest() for values in expected}
    read = {hashlib.sha256(values.tobytes()).hexdigest() for values in found}
    return lies + ([] if known == read else [f"{len(known ^ read)} tensors differ from the GGUF file's"])
