"""The checkpoint directory: stock, complete, reproducible, all or nothing."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from dotresize.errors import ModelError, OutputError
from dotresize.export.checkpoint.write import complete_config, save
from dotresize.export.contract import manifest, reference


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_every_family_reloads_with_the_same_logits(
    compressed: Any, pico_checkpoint: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    result = compressed(pico_checkpoint)
    save(result, tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    for prompt in reference.load(tmp_path / "out").prompts:
        with torch.inference_mode():
            logits = model(torch.tensor([prompt.token_ids])).logits[0]
        torch.testing.assert_close(
            logits.numpy(), prompt.logits, rtol=0, atol=1e-5
        )  # same kernels, one reload


def test_the_directory_is_complete(pico_saved: Path) -> None:
    names = {path.name for path in pico_saved.iterdir()}
    assert {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "README.md",
        "dotresize.json",
        "reference",
    } <= names
    config = json.loads((pico_saved / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["head_dim"] == 32
    assert config["tie_word_embeddings"] is False
    assert config["rope_parameters"]["rope_theta"] == config["rope_theta"]
    assert config["rope_scaling"] is None
    assert config["dtype"] == config["torch_dtype"] == "float32"
    umask_mode = (pico_saved / "model.safetensors").stat().st_mode & 0o777
    assert umask_mode & 0o400
    assert umask_mode & 0o044, "other readers must be able to open the weights under the usual umask"


def test_scaled_rope_is_written_for_both_generations(tmp_path: Path) -> None:
    from transformers import AutoConfig, LlamaConfig

    rope = {
        "rope_type": "llama3",
        "rope_theta": 5e5,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 128,
    }
    LlamaConfig(rope_parameters=rope).save_pretrained(tmp_path)
    complete_config(tmp_path / "config.json", head_dim=128)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["rope_theta"] == 5e5
    assert written["rope_scaling"] == {key: value for key, value in rope.items() if key != "rope_theta"}
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters == rope


def test_same_inputs_same_bytes(compressed: Any, pico_llama: Path, tmp_path: Path) -> None:
    estimate = {"value": 27.4, "standard_error": None}
    model = {"name": "narrow", "perplexity": estimate, "perplexity_ratio": None, "kl_nats_per_token": None}
    quality = {"text": "builtin", "windows": 1, "window_tokens": 8, "models": [model]}
    for name in ("a", "b"):
        save(compressed(pico_llama), tmp_path / name, quality=quality)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_shards_are_bounded_and_hashed(compressed: Any, pico_llama: Path, tmp_path: Path) -> None:
    written = save(compressed(pico_llama), tmp_path / "out", max_shard_bytes=200_000)
    shards = sorted((tmp_path / "out").glob("model-*.safetensors"))
    assert len(shards) > 1
    assert set(written.files) == {path.name for path in shards} | {"model.safetensors.index.json"}
    assert manifest.read(tmp_path / "out") == written


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_is_stored_and_the_reference_is_float32(
    compressed: Any, pico_mistral: Path, tmp_path: Path, dtype: str
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    result = compressed(pico_mistral, dtype)
    result.model.to(getattr(torch, dtype))  # rounds the rotary frequencies too, as a careless caller would
    written = save(result, tmp_path / "out")
    assert written.precision == dtype
    assert next(result.model.parameters()).dtype == getattr(torch, dtype), "saving must not change the model"
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    (prompt, *_) = reference.load(tmp_path / "out").prompts
    with torch.inference_mode():
        logits = model(torch.tensor([prompt.token_ids])).logits[0]
    torch.testing.assert_close(logits.numpy(), prompt.logits, rtol=0, atol=1e-5)


def test_contradictory_sampling_values_travel_along(
    compressed: Any, pico_llama: Path, tmp_path: Path
) -> None:
    from transformers import GenerationConfig

    result = compressed(pico_llama)
    result.model.generation_config.temperature = 0.9  # without do_sample: strict saving refuses that
    save(result, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text())["temperature"] == 0.9
    assert GenerationConfig.from_pretrained(tmp_path / "out").eos_token_id == 1


def test_an_existing_output_is_refused_then_replaced(
    compressed: Any, pico_llama: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    save(compressed(pico_llama), out)
    stale = out / "model-00002-of-00002.safetensors"
    stale.write_text("old")
    with pytest.raises(OutputError, match="already exists"):
        save(compressed(pico_llama), out)
    assert stale.exists()
    save(compressed(pico_llama), out, force=True)
    assert not stale.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_force_does_not_delete_what_we_did_not_write(
    compressed: Any, pico_llama: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(OutputError, match="did not write"):
        save(compressed(pico_llama), tmp_path / "photos", force=True)
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"cat"


def test_a_full_disk_leaves_nothing(compressed: Any, pico_llama: Path, tmp_path: Path) -> None:
    result = compressed(pico_llama)

    def no_space(directory: Path) -> None:
        (directory / "half").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    result.tokenizer.save_pretrained = no_space
    with pytest.raises(OutputError, match="disk is full"):
        save(result, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_lying_tie_is_refused(compressed: Any, pico_llama_untied: Path, tmp_path: Path) -> None:
    result = compressed(pico_llama_untied)
    result.model.config.tie_word_embeddings = True
    with pytest.raises(ModelError, match="do not share"):
        save(result, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_tokenizer_is_refused(compressed: Any, pico_llama: Path, tmp_path: Path) -> None:
    result = compressed(pico_llama)
    result.tokenizer.add_tokens(["lighthouse"])
    with pytest.raises(ModelError, match="does not belong"):
        save(result, tmp_path / "out")


def test_the_card_says_what_matters(pico_saved: Path) -> None:
    card = (pico_saved / "README.md").read_text()
    front, body = card.split("---\n")[1:]
    assert "license: apache-2.0" in front
    assert "library_name: transformers" in front
    assert "| hidden width | 64 | 64 | 1.000 |" in body
    assert "Not measured" in body
