"""Tensors: missing, renamed, extra, of another shape or dtype, and with values no model can have."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from ..case import Attempt, Sandbox
from ..operations import on_checkpoint, on_foreign_model

__all__ = ["BASES", "damage"]

BASES = ("llama", "mistral", "narrow")
Tensors = dict[str, Any]  # of torch


def damage(box: Sandbox) -> Attempt:
    from safetensors.torch import load_file, save_file

    base = box.rng.choice(BASES)
    model = box.copy(base)
    file = model / "model.safetensors"
    tensors = load_file(file)
    act = box.rng.choice(list(DAMAGES))
    name = box.rng.choice(sorted(tensors))
    if act == "whole model":
        what = _whole(tensors, box.rng)
    else:
        what = f"{name}: {act} {DAMAGES[act](tensors, name, box.rng)}".strip()
    save_file({key: value.contiguous() for key, value in tensors.items()}, file, metadata={"format": "pt"})
    if base == "narrow" and box.rng.random() < 0.5:
        what += ", manifest adapted"
        _adapt_manifest(model)
    return (on_checkpoint if base == "narrow" else on_foreign_model)(box, "model", f"{base}: {what}")


def _adapt_manifest(model: Path) -> None:
    """Sizes and hashes as they are now, so that the content itself has to be looked at."""
    import hashlib

    record = json.loads((model / "dotresize.json").read_text())
    content = (model / "model.safetensors").read_bytes()
    entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    record["files"]["model.safetensors"] = entry
    (model / "dotresize.json").write_text(json.dumps(record, indent=2, sort_keys=True))


def _missing(tensors: Tensors, name: str, rng: Random) -> str:
    del tensors[name]
    return ""


def _renamed(tensors: Tensors, name: str, rng: Random) -> str:
    new = rng.choice([name.replace("model.", "", 1), f"{name}_", name.upper(), "x", f"model.{name}"])
    tensors[new] = tensors.pop(name)
    return f"to {new}"


def _extra(tensors: Tensors, name: str, rng: Random) -> str:
    new = rng.choice(["extra.weight", "model.layers.2.mlp.up_proj.weight", "lm_head.bias", "model.norm.bias"])
    tensors[new] = tensors[name].clone()
    return new


def _transposed(tensors: Tensors, name: str, rng: Random) -> str:
    tensors[name] = tensors[name].t() if tensors[name].ndim == 2 else tensors[name][:, None]
    return ""


def _reshaped(tensors: Tensors, name: str, rng: Random) -> str:
    import torch

    old = tensors[name]
    tensors[name] = rng.choice(
        [old.flatten(), old[:-1], torch.cat([old, old]), old[:0], old.flatten()[:1].reshape(()), old[None]]
    )
    return str(tuple(tensors[name].shape))


def _cast(tensors: Tensors, name: str, rng: Random) -> str:
    import torch

    kinds = ["int8", "int32", "int64", "bool", "uint8", "float16", "bfloat16", "float64", "float8_e4m3fn"]
    kind = rng.choice(kinds)
    tensors[name] = tensors[name].to(getattr(torch, kind))
    return kind


def _one_value(tensors: Tensors, name: str, rng: Random) -> str:
    value = rng.choice([float("nan"), float("inf"), float("-inf"), 3e38, 1e30])
    tensors[name] = tensors[name].clone()
    tensors[name].view(-1)[rng.randrange(tensors[name].numel())] = value
    return str(value)


def _filled(tensors: Tensors, name: str, rng: Random) -> str:
    import torch

    value = rng.choice([float("nan"), float("inf"), 0.0, 1.0, -7.5, 1e38, 1e-40])
    tensors[name] = torch.full_like(tensors[name], value)
    return str(value)


def _swapped(tensors: Tensors, name: str, rng: Random) -> str:
    """Another tensor's values: legitimate where the shapes agree."""
    other = rng.choice(sorted(tensors))
    tensors[name], tensors[other] = tensors[other].clone(), tensors[name].clone()
    return f"with {other}"


def _scaled(tensors: Tensors, name: str, rng: Random) -> str:
    factor = rng.choice([1e20, 1e-20, 1e10, -1.0])
    tensors[name] = tensors[name] * factor
    return str(factor)


def _whole(tensors: Tensors, rng: Random) -> str:
    """All tensors at once."""
    import torch

    act = rng.choice(["none", "zero", "ones", "nan", "prefix", "half missing", "half precision", "ranks"])
    names = sorted(tensors)
    if act in ("none", "half missing"):
        for name in names if act == "none" else names[::2]:
            del tensors[name]
    elif act == "prefix":
        for name in names:
            tensors[f"transformer.{name}"] = tensors.pop(name)
    else:
        for name in names:
            old = tensors[name]
            tensors[name] = {
                "zero": torch.zeros_like(old),
                "ones": torch.ones_like(old),
                "nan": torch.full_like(old, float("nan")),
                "half precision": old.to(rng.choice([torch.float16, torch.bfloat16])),
                "ranks": old[:1].expand_as(old).clone(),
            }[act]
    return f"all tensors: {act}"


DAMAGES: dict[str, Callable[..., str]] = {
    "missing": _missing,
    "renamed": _renamed,
    "extra": _extra,
    "transposed": _transposed,
    "reshaped": _reshaped,
    "cast": _cast,
    "one value": _one_value,
    "filled": _filled,
    "swapped": _swapped,
    "scaled": _scaled,
    "whole model": _whole,
}
