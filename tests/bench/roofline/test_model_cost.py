"""Oracles: the real parameters of the model, the bytes of its files, `count_sizes`, and sums by hand."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dotresize.bench.record.results import BenchModel
from dotresize.bench.roofline.model_cost import describe
from dotresize.bench.roofline.tensor_cost import part_of
from dotresize.compress.families.rows import FAMILIES
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.compress.widths.sizes import count_sizes
from dotresize.errors import ManifestError, ModelError
from dotresize.export.checkpoint.write import save
from dotresize.export.contract.vocabulary import tokenizer_sha256

HIDDEN, MLP, LAYERS, QUERY, KEY_VALUE, VOCAB = 64, 96, 3, 128, 64, 384  # of the pico models


def described(directory: Path, dtype: str = "auto") -> BenchModel:
    return describe(directory, name="a", source=str(directory), dtype=dtype)


def stored(model: BenchModel) -> int:
    return sum(cost.weight_bytes for cost in model.parts.values())


@pytest.fixture(scope="module")
def narrow(pico_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("narrow") / "narrow"
    config = CompressConfig(intermediate_size=64, calibration_windows=4, window_tokens=64)
    save(compress(str(pico_llama), config), directory)
    return directory


def test_parts_are_those_of_the_model(pico_checkpoint: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    model = described(pico_checkpoint)
    attention, mlp = LAYERS * 2 * HIDDEN * (QUERY + KEY_VALUE), LAYERS * 3 * HIDDEN * MLP
    assert model.parts["attention"].weight_bytes == 4 * attention
    assert model.parts["mlp"].weight_bytes == 4 * mlp
    assert model.parts["norm"].weight_bytes == 4 * HIDDEN * (2 * LAYERS + 1)
    assert model.parts["head"].decode_bytes == 4 * HIDDEN * VOCAB
    loaded = AutoModelForCausalLM.from_pretrained(pico_checkpoint)
    assert model.parameters == sum(parameter.numel() for parameter in loaded.parameters())
    config = AutoConfig.from_pretrained(pico_checkpoint)
    counts = count_sizes(config, FAMILIES[config.model_type], torch.float32)
    assert stored(model) == counts.weight_bytes
    assert sum(cost.flops_per_token for cost in model.parts.values()) == counts.flops_per_token
    assert model.kv_bytes_per_token == counts.kv_cache_bytes_per_token
    assert model.weight_bytes == (pico_checkpoint / "model.safetensors").stat().st_size


def test_a_tied_table_counts_once_and_an_untied_one_is_read_by_rows(
    pico_llama: Path, pico_llama_untied: Path
) -> None:
    table = 4 * HIDDEN * VOCAB
    tied, untied = described(pico_llama), described(pico_llama_untied)
    assert (tied.parts["embedding"].weight_bytes, tied.parts["head"].weight_bytes) == (0, table)
    assert (untied.parts["embedding"].weight_bytes, untied.parts["head"].weight_bytes) == (table, table)
    assert untied.parts["embedding"].decode_bytes == 4 * HIDDEN
    assert untied.parts["embedding"].flops_per_token == 0


def test_the_dtype_of_the_run_decides_what_is_read(pico_llama_untied: Path) -> None:
    wide, half = described(pico_llama_untied), described(pico_llama_untied, "bfloat16")
    for part in wide.parts:
        assert half.parts[part].weight_bytes == wide.parts[part].weight_bytes
        assert 2 * half.parts[part].decode_bytes == wide.parts[part].decode_bytes
        assert 2 * half.parts[part].loaded_bytes == wide.parts[part].loaded_bytes
    assert 2 * half.kv_bytes_per_token == wide.kv_bytes_per_token
    assert (wide.compute_dtype, half.compute_dtype) == ("float32", "bfloat16")


@pytest.mark.parametrize("quantize", ["w8a8", "w4a16"])
def test_compressed_tensors_cost_what_is_stored(narrow: Path, tmp_path: Path, quantize: Any) -> None:
    from safetensors.numpy import load_file

    from dotresize.export.for_vllm.to_vllm import VllmConfig, export_vllm

    export_vllm(narrow, tmp_path / "q", VllmConfig(quantize=quantize, dtype="float16"))
    model, plain = described(tmp_path / "q"), described(narrow)
    arrays = load_file(tmp_path / "q" / "model.safetensors").values()
    assert stored(model) == sum(array.nbytes for array in arrays)
    assert model.parameters == plain.parameters
    assert {part: cost.flops_per_token for part, cost in model.parts.items()} == {
        part: cost.flops_per_token for part, cost in plain.parts.items()
    }
    assert model.parts["mlp"].decode_bytes == model.parts["mlp"].weight_bytes
    assert model.compute_dtype == {"w8a8": "int8", "w4a16": "float16"}[quantize]


def test_the_same_vocabulary_has_the_same_hash(
    pico_llama: Path, pico_llama_untied: Path, tmp_path: Path
) -> None:
    file = tmp_path / "tokenizer.json"
    data = json.loads((pico_llama / "tokenizer.json").read_text())
    data["model"]["vocab"] = dict(reversed(data["model"]["vocab"].items()))
    file.write_text(json.dumps(data, indent=3))
    same = tokenizer_sha256(pico_llama)
    assert tokenizer_sha256(tmp_path) == same == tokenizer_sha256(pico_llama_untied)
    token = next(iter(data["model"]["vocab"]))
    data["model"]["vocab"][token + "x"] = data["model"]["vocab"].pop(token)
    file.write_text(json.dumps(data))
    assert tokenizer_sha256(tmp_path) != same


def test_the_vocabulary_is_that_of_transformers(pico_llama: Path) -> None:
    from transformers import AutoTokenizer

    from dotresize.export.contract import vocabulary

    read = vocabulary._fast_vocabulary(pico_llama / "tokenizer.json")
    assert read == AutoTokenizer.from_pretrained(pico_llama).get_vocab()


def test_the_hash_is_over_the_weight_files(narrow: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(narrow, copy)
    assert described(copy).sha256 == described(narrow).sha256
    (copy / "dotresize.json").unlink()
    assert described(copy).sha256 == described(narrow).sha256  # hashed instead of looked up


def change(name: str, text: str) -> Callable[[Path], int]:
    return lambda directory: (directory / name).write_text(text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change("tokenizer.json", "{}"), r"tokenizer\.json is damaged at model"),
        (change("config.json", "{}"), "lacks a usable"),
        (lambda directory: (directory / "model.safetensors").unlink(), "no safetensors weights"),
        (lambda directory: (directory / "tokenizer.json").unlink(), "the tokenizer of .* cannot be read"),
    ],
)
def test_what_is_damaged_is_named(
    damage: Callable[[Path], Any], message: str, pico_llama: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(pico_llama, copy)
    for extra in ("tokenizer_config.json",):
        if message.startswith("the tokenizer"):
            (copy / extra).unlink()
    damage(copy)
    with pytest.raises(ModelError, match=message):
        described(copy)


def test_another_size_than_recorded_is_refused(narrow: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(narrow, copy)
    manifest = json.loads((copy / "dotresize.json").read_text())
    manifest["files"]["model.safetensors"]["bytes"] += 1
    (copy / "dotresize.json").write_text(json.dumps(manifest))
    with pytest.raises(ManifestError, match="its manifest records"):
        described(copy)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.layers.0.self_attn.q_proj.weight", "attention"),
        ("model.layers.0.input_layernorm.weight", "norm"),
        ("model.layers.11.mlp.down_proj.weight_packed", "mlp"),
        ("model.embed_tokens.weight", "embedding"),
        ("lm_head.weight", "head"),
        ("transformer.h.0.ln_1.weight", "norm"),
        ("transformer.wte.weight", "embedding"),
    ],
)
def test_names_say_the_part(name: str, part: str) -> None:
    assert part_of(name) == part


def test_a_name_that_says_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'mixer\.weight' belongs to no part"):
        part_of("mixer.weight")


@pytest.mark.slow
def test_smollm2_costs_what_is_published(smollm2_directory: Path) -> None:
    model = described(smollm2_directory)
    assert model.parameters == 134_515_008
    assert stored(model) == 4 * 134_515_008
    assert model.kv_bytes_per_token == 2 * 30 * 3 * 64 * 4
