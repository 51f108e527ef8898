"""The undamaged models that cases copy, each made once by the real commands.

llama, mistral       directories of transformers: tied Llama; untied Mistral
sharded, pickled     the Llama in four shards with an index; as pytorch_model.bin
narrow, narrow.gguf  what `dotresize compress` and `export gguf` write
onnx, exported       what `export onnx` and `export vllm` write
report               what `bench` writes: results.json and the pages
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from ..picos import SHAPE, ZEN, train_tokenizer, write_pico
from .command import call

__all__ = ["BASES", "build"]

LAYERS = 2
MEASURE = (
    "--scenarios", "latency", "--engine", "transformers", "--batch-sizes", "1", "--device", "cpu",
    "--input-tokens", "4", "--output-tokens", "2", "--rounds", "1", "--repeats", "1",
)  # fmt: skip
COMPRESS = ["--intermediate-size", "0.5", "--window-tokens", "32", "--calibration-windows", "2"]


def build(names: Iterable[str], folder: Path) -> None:
    """Make the bases that are not there yet; the order of `BASES` is the order of their needs."""
    wanted = _with_needs(set(names))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text.txt").write_text(ZEN + "\n")
    for name, make in BASES.items():
        if name in wanted and not (folder / name).exists():
            temporary = folder / f"making-{name}"
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            os.chdir(temporary)
            make(folder)
            for path in temporary.iterdir():
                if path.name.startswith(name):
                    path.rename(folder / path.name)
            shutil.rmtree(temporary)


def _with_needs(names: set[str]) -> set[str]:
    while more := {need for name in names for need in NEEDS.get(name, ())} - names:
        names |= more
    return names


def _llama(_: Path, **saving: object) -> None:
    from transformers import LlamaConfig

    config = LlamaConfig(**{**SHAPE, "num_hidden_layers": LAYERS}, tie_word_embeddings=True)
    write_pico(config, train_tokenizer(), Path("llama"), **saving)


def _mistral(_: Path) -> None:
    from transformers import MistralConfig

    shape = {**SHAPE, "num_hidden_layers": LAYERS}
    config = MistralConfig(**shape, sliding_window=None, tie_word_embeddings=False)
    write_pico(config, train_tokenizer(), Path("mistral"))


def _sharded(folder: Path) -> None:
    _llama(folder, max_shard_size=150_000)
    Path("llama").rename("sharded")


def _pickled(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    shutil.copytree(folder / "llama", "pickled")
    weights = Path("pickled/model.safetensors")
    torch.save(load_file(weights), "pickled/pytorch_model.bin")
    weights.unlink()


def _narrow(folder: Path) -> None:
    text = ["--calibration", str(folder / "text.txt"), "--evaluation", "none"]
    call("compress", folder / "mistral", "-o", "narrow", *COMPRESS, *text)


def _gguf(folder: Path) -> None:
    call("export", "gguf", folder / "narrow", "-o", "narrow.gguf", "--dtype", "f32")


def _onnx(folder: Path) -> None:
    call("export", "onnx", folder / "narrow", "-o", "onnx", "--dtype", "int4")


def _exported(folder: Path) -> None:
    call("export", "vllm", folder / "narrow", "-o", "exported", "--dtype", "float32")


def _report(folder: Path) -> None:
    call("bench", folder / "mistral", folder / "narrow", "-o", "report", *MEASURE)
    results = json.loads(Path("report/results.json").read_text())
    assert results["complete"], "the benchmark that cases damage must be whole"


def _plan(folder: Path) -> None:
    """A budget that several axes meet together."""
    text = ["--calibration", str(folder / "text.txt"), "--window-tokens", "32", "--calibration-windows", "2"]
    call("plan", folder / "llama", "-o", "plan.json", "--params", "0.6", "--effort", "quick", *text)


BASES: dict[str, Callable[[Path], None]] = {
    "llama": _llama,
    "mistral": _mistral,
    "sharded": _sharded,
    "pickled": _pickled,
    "narrow": _narrow,
    "narrow.gguf": _gguf,
    "onnx": _onnx,
    "exported": _exported,
    "report": _report,
    "plan.json": _plan,
}
NEEDS = {
    "pickled": ["llama"],
    "narrow": ["mistral"],
    "narrow.gguf": ["narrow"],
    "onnx": ["narrow"],
    "exported": ["narrow"],
    "report": ["narrow"],
    "plan.json": ["llama"],
}
