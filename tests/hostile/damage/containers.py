"""Weight files: damaged safetensors, indices that name what they must not, pickles."""

import json
import pickle
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from ..case import Attempt, Sandbox
from ..operations import on_checkpoint, on_foreign_model
from .json_damage import damage_file, mutate_file

__all__ = ["BASES", "damage"]

BASES = ("llama", "narrow", "sharded", "pickled")
MARK = "executed"  # a pickle that runs makes a file of this name in the working directory


def damage(box: Sandbox) -> Attempt:
    way = box.rng.choices(["safetensors", "index", "pickle"], [5, 4, 3])[0]
    if way == "safetensors":
        base = box.rng.choice(["llama", "narrow"])
        what = _damage_safetensors(box.copy(base) / "model.safetensors", box.rng)
        return (on_checkpoint if base == "narrow" else on_foreign_model)(box, "model", f"{base}: {what}")
    if way == "index":
        return _refused_outside(on_foreign_model(box, "model", f"sharded: {_damage_index(box)}"))
    return on_foreign_model(box, "model", f"pickled: {_damage_pickle(box)}")


def _refused_outside(attempt: Attempt) -> Attempt:
    """Weights that lie outside the model's directory are not its own."""
    leaves = any(word in attempt.damage for word in ("index outside", "index absolute", "index link out"))
    if leaves and attempt.arguments[0] in ("compress", "perplexity"):
        return replace(attempt, must_fail="weights outside the model's directory were read")
    return attempt


def _damage_safetensors(path: Path, rng: Random) -> str:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    act = rng.choice(
        [
            "truncated",
            "longer",
            "length",
            "header bytes",
            "header json",
            "offsets",
            "dtype",
            "file",
            "flipped",
        ]
    )
    if act == "truncated":
        path.write_bytes(content[: rng.choice([0, 7, 8, length, rng.randrange(len(content))])])
    elif act == "longer":
        path.write_bytes(content + b"\0" * rng.choice([1, 1000]))
    elif act == "length":
        wrong = rng.choice([0, 1, length - 1, length + 1, len(content) * 2, 2**40, 2**63, 2**64 - 1])
        path.write_bytes(struct.pack("<Q", wrong) + content[8:])
    elif act == "header bytes":
        place = 8 + rng.randrange(length)
        path.write_bytes(content[:place] + rng.randbytes(1) + content[place + 1 :])
    elif act in ("header json", "offsets", "dtype"):
        _damage_header(header, act, rng, len(body))
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    elif act == "flipped":
        place = 8 + length + 4 * rng.randrange(len(body) // 4)
        path.write_bytes(content[: place + 3] + b"\x7f" + content[place + 4 :])
    else:
        return damage_file(path, rng)
    return f"safetensors {act}"


def _damage_header(header: dict[str, Any], act: str, rng: Random, size: int) -> None:
    name = rng.choice([key for key in header if key != "__metadata__"])
    entry = header[name]
    if act == "dtype":
        entry["dtype"] = rng.choice(["F16", "I32", "F64", "Q4", "", 3, None, "BOOL"])
    elif act == "offsets":
        start, end = entry["data_offsets"]
        wrong = [
            [start, end - 4],
            [start - 4, end],
            [end, start],
            [0, size],
            [start, 2**60],
            [-1, 3],
            [],
            "x",
        ]
        entry["data_offsets"] = rng.choice(wrong)
    else:
        changes: list[Callable[[], Any]] = [
            lambda: header.pop(name),
            lambda: header.update({name: rng.choice([None, [], 3, {}])}),
            lambda: entry.update(shape=rng.choice([[], [0], [2**40], [-1, 5], "x", None, [1.5]])),
            lambda: header.update({"../" + name: header.pop(name)}),
            lambda: header.update(__metadata__=rng.choice([{}, {"format": "tf"}, {"a": 1}, 3])),
        ]
        rng.choice(changes)()


def _damage_index(box: Sandbox) -> str:
    model = box.copy("sharded")
    index, rng = model / "model.safetensors.index.json", box.rng
    data = json.loads(index.read_text())
    shards = sorted(set(data["weight_map"].values()))
    name, shard = rng.choice(sorted(data["weight_map"])), rng.choice(shards)
    outside = box.home / "precious" / shard
    act = rng.choice(
        ["outside", "absolute", "link out", "link in", "shard gone", "shard swapped", "name gone",
         "name moved", "name added", "mutated", "file", "both", "shard directory", "same shard",
         "odd name", "second index"]
    )  # fmt: skip
    if act in ("outside", "absolute", "link out"):
        (model / shard).rename(outside)
        if act == "link out":
            (model / shard).symlink_to(outside)
        else:
            new = str(outside) if act == "absolute" else f"../precious/{shard}"
            data["weight_map"] = {k: new if v == shard else v for k, v in data["weight_map"].items()}
    elif act == "link in":
        (model / shard).rename(model / "other.bin")
        (model / shard).symlink_to("other.bin")
    elif act == "shard gone":
        (model / shard).unlink()
    elif act == "shard directory":
        (model / shard).unlink()
        (model / shard).mkdir()
    elif act == "shard swapped":
        shutil.copyfile(model / shards[0], model / shards[-1])
    elif act == "same shard":
        data["weight_map"] = dict.fromkeys(data["weight_map"], shard)
    elif act == "name gone":
        del data["weight_map"][name]
    elif act == "name moved":
        data["weight_map"][name] = shard
    elif act == "name added":
        data["weight_map"]["model.layers.9.mlp.up_proj.weight"] = shard
    elif act == "odd name":
        odd = ["[/red]", "a\0b", "", ".", "/dev/zero", "~/x", "\ud800", 7, None, ["x"], "x" * 300]
        data["weight_map"][name] = rng.choice(odd)
    elif act == "both":
        shutil.copyfile(model / shards[0], model / "model.safetensors")
    elif act == "second index":
        (model / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {name: "../x.bin"}}))
    index.write_text(json.dumps(data))
    if act in ("mutated", "file"):
        return f"index {act}: {(mutate_file if act == 'mutated' else damage_file)(index, rng)}"
    return f"index {act}: {name}, {shard}"


class _Evil:
    """Leaves a mark when a pickle of it is loaded without care."""

    def __init__(self, way: str) -> None:
        self.way = way

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        if self.way == "system":
            return os.system, (f"touch {MARK}",)
        if self.way == "eval":
            return eval, (f"open({MARK!r}, 'w')",)
        return exec, (f"import pathlib; pathlib.Path({MARK!r}).touch()",)


def _damage_pickle(box: Sandbox) -> str:
    import torch

    model, rng = box.copy("pickled"), box.rng
    path = model / "pytorch_model.bin"
    act = rng.choice(["undamaged", "evil", "evil raw", "evil inside", "truncated", "file", "list", "mixed",
                      "missing", "nan", "safetensors name", "legacy", "numpy"])  # fmt: skip
    tensors = torch.load(path, weights_only=True)
    way = rng.choice(["system", "eval", "exec"])
    if act == "evil":
        torch.save(_Evil(way), path)
    elif act == "evil raw":
        path.write_bytes(pickle.dumps(_Evil(way), protocol=2))
    elif act == "evil inside":
        torch.save({**tensors, "extra": _Evil(way)}, path)
    elif act == "truncated":
        content = path.read_bytes()
        path.write_bytes(content[: rng.randrange(len(content))])
    elif act == "list":
        torch.save(rng.choice([list(tensors.values()), None, 3, "text", {1: 2}, {"a": "b"}]), path)
    elif act == "mixed":
        torch.save({**tensors, "step": 3, "optimizer": {"lr": 0.1}}, path)
    elif act == "missing":
        tensors.pop(rng.choice(sorted(tensors)))
        torch.save(tensors, path)
    elif act == "nan":
        tensors[rng.choice(sorted(tensors))].view(-1)[0] = float("nan")
        torch.save(tensors, path)
    elif act == "safetensors name":
        path.rename(model / "model.safetensors")
    elif act == "legacy":
        torch.save(tensors, path, _use_new_zipfile_serialization=False)
    elif act == "numpy":
        torch.save({name: value.numpy() for name, value in tensors.items()}, path)
    elif act == "file":
        return damage_file(path, rng)
    return f"pickle {act} {way if 'evil' in act else ''}".strip()
