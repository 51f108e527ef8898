"""Which classes GGUF holds, beside the Llamas of test_to_gguf.py."""

from pathlib import Path
from typing import Any

import pytest

from dotresize.errors import ModelError
from dotresize.export.checkpoint.write import save
from dotresize.export.for_gguf.forms import FORMS, form_of
from dotresize.export.for_gguf.to_gguf import GgufConfig, export_gguf, record_directory
from dotresize.export.proof.verify import verify

from ..families.conftest import randomise, save_tokenizer
from ..picos import SHAPE

QWENS: dict[str, dict[str, Any]] = {
    # its head_dim is hidden size over heads, as everything that reads GGUF has it; and biases
    "Qwen2Config": {"hidden_size": 128, "tie_word_embeddings": True},
    "Qwen3Config": {"head_dim": 128, "num_attention_heads": 2, "num_key_value_heads": 1},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", QWENS)
def test_a_qwen_is_read_back(name: str, compressed: Any, pico_tokenizer: Any, tmp_path: Path) -> None:
    import torch
    import transformers

    config = getattr(transformers, name)(**SHAPE | {"vocab_size": SHAPE["vocab_size"] + 8} | QWENS[name])
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    randomise(model)
    model.save_pretrained(tmp_path / "qwen")
    save_tokenizer(pico_tokenizer, tmp_path / "qwen")
    save(compressed(tmp_path / "qwen"), tmp_path / "narrow")
    export_gguf(tmp_path / "narrow", tmp_path / "m.gguf", GgufConfig(type="f32"))
    record = verify(tmp_path / "m.gguf", runtime="transformers")
    assert record.verified, record.verification
    assert record_directory(tmp_path / "m.gguf").is_dir()


@pytest.mark.parametrize(
    ("architecture", "config", "message"),
    [
        ("OPTForCausalLM", {}, "OPTForCausalLM has no GGUF form here; what has one: LlamaForCausalLM, Mis"),
        ("LlamaForCausalLM", {"attention_bias": True}, "attention_bias.*narrow its MLP or its layers"),
        ("Qwen3ForCausalLM", {"head_dim": 64}, "head_dim is 64, and transformers takes 128"),
        ("MistralForCausalLM", {"sliding_window": 4096}, "sliding_window is 4096"),
    ],
)
def test_what_nothing_could_prove_is_refused(architecture: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        form_of(architecture, config)


def test_every_form_names_tensors_that_gguf_knows() -> None:
    from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, MODEL_TENSORS, TENSOR_NAMES

    kinds = {name: kind for kind, name in MODEL_ARCH_NAMES.items()}
    for form in FORMS.values():
        kind: MODEL_ARCH = kinds[form.name]
        known = {TENSOR_NAMES[tensor] for tensor in MODEL_TENSORS[kind]}
        assert {f"blk.{{bid}}.{target}" for target in form.layer.values()} <= known
        assert set(form.biases) <= set(form.layer)
