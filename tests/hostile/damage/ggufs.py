"""GGUF files: truncated, bad magic, wrong counts and offsets, metadata of another model, odd tensors."""

import shutil
import struct
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from ..case import Attempt, Sandbox
from ..operations import compress, info, perplexity, verify
from .json_damage import damage_file, mutate_file

__all__ = ["BASES", "damage"]

BASES = ("narrow", "narrow.gguf")


def damage(box: Sandbox) -> Attempt:
    path = box.copy("narrow.gguf", "model.gguf")
    act = box.rng.choice(["bytes", "bytes", "fields", "fields", "fields", "tensors", "tensors", "record"])
    if act == "record":
        return _damage_record(box, path)
    if act == "bytes":
        what = _damage_bytes(path, box.rng)
    else:
        what = _rewrite(path, box.rng, tensors=act == "tensors")
    chosen = box.rng.choices(["compress", "info", "perplexity"], [4, 3, 1])[0]
    if chosen == "compress":
        return compress(box, "model.gguf", damage=what)
    return (info if chosen == "info" else perplexity)("model.gguf", damage=what)


def _damage_record(box: Sandbox, path: Path) -> Attempt:
    """The folder with the manifest and the reference beside the file."""
    folder = box.copy("narrow.gguf.dotresize", "model.gguf.dotresize")
    target = box.rng.choice(sorted(each for each in folder.rglob("*") if each.is_file()))
    by_field = target.suffix == ".json" and box.rng.random() < 0.7
    what = (mutate_file if by_field else damage_file)(target, box.rng)
    if box.rng.random() < 0.9:
        return info(path.name, damage=what)
    return verify(path.name, damage=what)


def _damage_bytes(path: Path, rng: Random) -> str:
    content = path.read_bytes()
    act = rng.choice(
        ["truncated", "magic", "version", "tensor count", "field count", "noise", "file", "longer"]
    )
    if act == "file":
        return f"gguf {damage_file(path, rng)}"
    count = rng.choice([0, 1, 5, 2**31, 2**62, 2**64 - 1])
    if act == "truncated":
        content = content[: rng.choice([3, 4, 8, 20, rng.randrange(len(content)), len(content) - 1])]
    elif act == "magic":
        content = rng.choice([b"GGML", b"FUGG", b"\0\0\0\0"]) + content[4:]
    elif act == "version":
        content = content[:4] + struct.pack("<I", rng.choice([0, 1, 2, 4, 99, 0x03000000])) + content[8:]
    elif act == "tensor count":
        content = content[:8] + struct.pack("<Q", count) + content[16:]
    elif act == "field count":
        content = content[:16] + struct.pack("<Q", count) + content[24:]
    elif act == "longer":
        content += b"\0" * 64
    else:
        place = rng.randrange(24, 4000)
        content = content[:place] + rng.randbytes(4) + content[place + 4 :]
    path.write_bytes(content)
    return f"gguf {act}"


def _rewrite(path: Path, rng: Random, *, tensors: bool) -> str:
    """Write the file anew by gguf's own writer with one field or one tensor changed."""
    from gguf import GGUFReader, GGUFValueType, GGUFWriter

    reader = GGUFReader(path)
    fields = {name: each for name, each in reader.fields.items() if not name.startswith("GGUF.")}
    arrays = {each.name: np.array(each.data) for each in reader.tensors}
    values: dict[str, Any] = {name: (each.contents(), each.types) for name, each in fields.items()}
    what = _change_tensor(arrays, rng) if tensors else _change_field(values, rng)
    new = path.with_suffix(".new")
    writer = GGUFWriter(new, "llama")
    for name, (value, types) in values.items():
        if name == "general.architecture" and not isinstance(value, str):
            continue
        writer.kv_data[0].pop(name, None)
        sub_type = types[-1] if types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, types[0], sub_type=sub_type)
    for name, array in arrays.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    shutil.move(new, path)
    return what


def _change_field(values: dict[str, Any], rng: Random) -> str:
    from gguf import GGUFValueType

    name = rng.choice(sorted(values))
    value, types = values[name]
    if rng.random() < 0.3:
        del values[name]
        return f"gguf field {name} missing"
    if types[0] == GGUFValueType.STRING:
        values[name] = (rng.choice(["", "nothing", "gpt2", "{% for", "[/red]", "x" * 10_000]), types)
    elif types[0] == GGUFValueType.ARRAY:
        changed = rng.choice([value[:5], [*value, value[0]], [value[0]] * len(value), value[::-1]])
        values[name] = (changed, types)
    elif types[0] in (GGUFValueType.FLOAT32, GGUFValueType.FLOAT64):
        values[name] = (rng.choice([0.0, -1.0, float("nan"), float("inf"), 1e30]), types)
    elif types[0] == GGUFValueType.BOOL:
        values[name] = (not value, types)
    else:
        values[name] = (rng.choice([0, 1, 3, 7, 63, 10**6, 2**31 - 1]), types)
    if rng.random() < 0.15:
        values[name] = ("a word", [GGUFValueType.STRING])
    return f"gguf field {name} = {str(values[name][0])[:40]}"


def _change_tensor(arrays: dict[str, Any], rng: Random) -> str:
    name = rng.choice(sorted(arrays))
    array = arrays[name].copy()
    act = rng.choice(
        ["missing", "renamed", "extra", "transposed", "shorter", "nan", "zero", "inf", "half", "int"]
    )
    if act in ("missing", "renamed"):
        del arrays[name]
        if act == "renamed":
            arrays[f"{name}.old"] = array
    elif act == "extra":
        arrays[rng.choice(["blk.9.attn_q.weight", "extra.weight", "rope_freqs.weight"])] = array
    elif act in ("nan", "inf"):
        array.reshape(-1)[0] = float(act)
        arrays[name] = array
    else:
        arrays[name] = {
            "transposed": np.ascontiguousarray(array.T),
            "shorter": array[: max(1, len(array) // 2)].copy(),
            "zero": np.zeros_like(array),
            "half": array.astype(np.float16),
            "int": array.astype(np.int32),
        }[act]
    return f"gguf tensor {name} {act}"
