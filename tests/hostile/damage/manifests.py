"""dotresize.json, genai_config.json, reference files and everything else of ours that later stages read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..case import Attempt, Sandbox
from ..operations import export_gguf, export_vllm, info, serve_plan, verify
from .json_damage import damage_file, mutate_file, set_fields

__all__ = ["BASES", "damage"]

COMMANDS: dict[str, Callable[..., Attempt]] = {
    "info": info,
    "serve": serve_plan,
    "gguf": export_gguf,
    "vllm": export_vllm,
}
BASES = ("narrow", "onnx", "exported")


def damage(box: Sandbox) -> Attempt:
    base = box.rng.choices(["narrow", "onnx", "exported"], [3, 1, 1])[0]
    model = box.copy(base)
    what = f"{base}: {_damage(box, model, base)}"
    acts = {"info": 3.0, "serve": 2.0, "verify": 0.05} | (
        {"gguf": 3.0, "vllm": 2.0} if base == "narrow" else {}
    )
    act = box.rng.choices(list(acts), list(acts.values()))[0]
    if act == "verify":
        runtime = {"narrow": "transformers", "onnx": "onnxruntime", "exported": "vllm"}[base]
        return verify("model", damage=what, runtime=runtime, model="model" if base == "narrow" else None)
    by_name: dict[str, Callable[..., Attempt]] = {
        "info": info,
        "serve": serve_plan,
        "gguf": export_gguf,
        "vllm": export_vllm,
    }
    return by_name[act]("model", damage=what)


def _damage(box: Sandbox, model: Path, base: str) -> str:
    manifest, rng = model / "dotresize.json", box.rng
    names = ["reference/prompts.json", "reference/logits.safetensors", "README.md"]
    names += ["genai_config.json", "genai_config.json", "tokenizer_config.json"] if base == "onnx" else []
    act = rng.random()
    if act < 0.1:
        version = rng.choice([0, 2, 99, -1, "1", None, 1.0, True, 10**30])
        set_fields(manifest, {"schema_version": version})
        return f"schema_version {version!r}"
    if act < 0.55:
        return mutate_file(manifest, rng)
    if act < 0.7:
        return damage_file(manifest, rng)
    if act < 0.78:
        fields: dict[str, Any] = rng.choice([
            {"format": "onnx"}, {"format": "gguf"}, {"format": "odd"}, {"precision": "[/red]"}, {"files": {}},
            {"files": {"../precious/thesis.txt": {"bytes": 20, "sha256": "0" * 64}}}, {"reference": None},
            {"files": {"/etc/passwd": {"bytes": 1, "sha256": ""}}}, {"report": None}, {"verification": [{}]},
            {"files": {"\0": {"bytes": 1, "sha256": ""}}}, {"provider": 3}, {"unknown": 1}, {"quality": []},
        ])  # fmt: skip
        set_fields(manifest, fields)
        return str(fields)[:80]
    path = model / rng.choice([name for name in names if (model / name).exists()])
    by_field = path.suffix == ".json" and rng.random() < 0.7
    return (mutate_file if by_field else damage_file)(path, rng)
