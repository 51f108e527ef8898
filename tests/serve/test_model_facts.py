"""What is read from disk, and what is refused before an engine starts."""

import json
import shutil
from pathlib import Path

import pytest

from dotresize.errors import ManifestError, ModelError
from dotresize.serve.engine.model_facts import read_facts


@pytest.fixture
def copy(pico_llama_untied: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pico_llama_untied, tmp_path / "copy")


def test_the_numbers_of_a_checkpoint(pico_llama_untied: Path) -> None:
    facts = read_facts(pico_llama_untied)
    assert (facts.hidden_size, facts.intermediate_size, facts.num_hidden_layers) == (64, 96, 3)
    assert (facts.num_attention_heads, facts.num_key_value_heads, facts.head_dim) == (4, 2, 32)
    assert facts.dtype == "float32"
    assert facts.weight_bytes == (pico_llama_untied / "model.safetensors").stat().st_size
    assert facts.kv_cache_bytes_per_token("bfloat16") == 2 * 3 * 2 * 32 * 2
    assert facts.manifest is None


def test_truncated_weights_are_seen_at_once(copy: Path) -> None:
    weights = copy / "model.safetensors"
    data = weights.read_bytes()
    for length in (len(data) - 1, len(data) // 2):
        weights.write_bytes(data[:length])
        with pytest.raises(ModelError, match=f"is damaged: {length} bytes, its header promises {len(data)}"):
            read_facts(copy)
    for length in (0, 4, 20):
        weights.write_bytes(data[:length])
        with pytest.raises(ModelError, match="is not a safetensors file"):
            read_facts(copy)
    weights.write_bytes(data + b"x")
    with pytest.raises(ModelError, match="is damaged"):
        read_facts(copy)


def test_a_missing_shard_is_named(copy: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"lacks weight files that its index names: model-2\.safetensors"):
        read_facts(copy)


def test_what_is_not_a_checkpoint_is_refused(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a directory"):
        read_facts(tmp_path / "nothing")
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="holds no safetensors weights"):
        read_facts(copy)
    (copy / "config.json").write_text("[]")
    with pytest.raises(ModelError, match="expected a JSON object"):
        read_facts(copy)
    (copy / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read: Expecting"):
        read_facts(copy)
    (copy / "config.json").unlink()
    with pytest.raises(ModelError, match="expected a Hugging Face checkpoint"):
        read_facts(copy)


def test_a_config_without_its_numbers_is_refused(copy: Path) -> None:
    (copy / "config.json").write_text('{"hidden_size": 64}')
    with pytest.raises(ModelError, match="lacks a usable 'num_attention_heads'"):
        read_facts(copy)


def test_a_manifest_from_the_future_is_refused(copy: Path) -> None:
    (copy / "dotresize.json").write_text('{"schema_version": 99}')
    with pytest.raises(ManifestError, match="newer"):
        read_facts(copy)
