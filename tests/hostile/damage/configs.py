"""config.json: fields that are missing, extra, of another kind, absurd, or of another model."""

from pathlib import Path
from typing import Any

from ..case import Attempt, Sandbox
from ..operations import on_checkpoint, on_foreign_model
from .json_damage import ABSURD, damage_file, mutate_file, set_fields

__all__ = ["BASES", "damage"]

BASES = ("llama", "mistral", "narrow", "sharded")
NUMBERS = (
    "num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads",
    "head_dim", "vocab_size", "max_position_embeddings", "rms_norm_eps", "initializer_range",
    "sliding_window", "pretraining_tp", "bos_token_id", "eos_token_id", "pad_token_id", "attention_dropout",
)  # fmt: skip
NAN = float("nan")
CHOSEN: list[dict[str, Any]] = [
    *({"num_hidden_layers": count} for count in (0, 1, 3, 7, -1, 10**6)),
    *({"rope_theta": value, "rope_parameters": None} for value in (0, -1, float("nan"), 10**300, "10000")),
    *({"rope_parameters": {"rope_type": "default", "rope_theta": value}} for value in (0, -1.0, NAN)),
    {"rope_parameters": {}}, {"rope_parameters": []}, {"rope_parameters": 7},
    {"rope_parameters": {"rope_type": "yarn"}}, {"rope_parameters": {"rope_type": "odd"}},
    {"rope_parameters": {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 0}},
    {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 0.0}},
    {"rope_scaling": {"type": "dynamic", "factor": "x"}},
    {"num_labels": 10**19}, {"num_labels": 10**7}, {"num_labels": -1}, {"id2label": {"a": 1}},
    {"vocab_size": 100}, {"vocab_size": 383}, {"vocab_size": 10**9}, {"vocab_size": 2**63},
    {"hidden_size": 10**9}, {"hidden_size": 0}, {"hidden_size": 62}, {"intermediate_size": 10**12},
    {"num_attention_heads": 0}, {"num_attention_heads": 3}, {"num_key_value_heads": 3},
    {"num_attention_heads": 8, "head_dim": 16}, {"head_dim": 0}, {"head_dim": 31}, {"head_dim": 64},
    {"tie_word_embeddings": True}, {"tie_word_embeddings": False}, {"tie_word_embeddings": "yes"},
    {"rms_norm_eps": 0}, {"rms_norm_eps": -1.0}, {"rms_norm_eps": float("nan")}, {"rms_norm_eps": "x"},
    {"rms_norm_eps": 1e30}, {"hidden_act": "nothing"}, {"hidden_act": "relu"}, {"hidden_act": 3},
    {"model_type": "gpt2"}, {"model_type": "nothing"}, {"model_type": None}, {"model_type": "bert"},
    {"model_type": "qwen2"}, {"model_type": "mistral"}, {"model_type": ["llama"]}, {"model_type": "llava"},
    {"architectures": []}, {"architectures": None}, {"architectures": "LlamaForCausalLM"},
    {"architectures": ["LlamaModel"]}, {"architectures": ["BertModel"]}, {"architectures": [3]},
    {"architectures": {"a": "b"}}, {"dtype": "float16"}, {"dtype": "int8"}, {"dtype": "float99"},
    {"dtype": None}, {"dtype": ["float32"]}, {"torch_dtype": 5}, {"dtype": "float64"}, {"dtype": "complex64"},
    {"quantization_config": {}}, {"quantization_config": {"quant_method": "gptq"}},
    {"quantization_config": 7}, {"quantization_config": {"quant_method": "nothing"}},
    {"auto_map": {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"}},
    {"attention_bias": True}, {"mlp_bias": True}, {"sliding_window": 2}, {"layer_types": ["full_attention"]},
    {"transformers_version": 3}, {"transformers_version": "99.0.0"}, {"use_cache": "maybe"},
    {"_attn_implementation": "nothing"}, {"attn_implementation": "flash_attention_2"},
    {"max_position_embeddings": 8}, {"max_position_embeddings": 10**15}, {"_name_or_path": "../../etc"},
    {"text_config": {"hidden_size": 3}}, {"is_encoder_decoder": True}, {"torchscript": True},
    {"bos_token_id": 10**6, "eos_token_id": -5}, {"eos_token_id": [1, 2]}, {"eos_token_id": "x"},
    {"output_hidden_states": True}, {"return_dict": False}, {"output_attentions": True},
]  # fmt: skip
GENERATION = ("generation_config.json",)


def damage(box: Sandbox) -> Attempt:
    base = box.rng.choice(BASES)
    model = box.copy(base)
    what = f"{base}: {_damage(box, model)}"
    return (on_checkpoint if base == "narrow" else on_foreign_model)(box, "model", what)


def _damage(box: Sandbox, model: Path) -> str:
    config, way = model / "config.json", box.rng.random()
    if way < 0.5:
        fields = box.rng.choice(CHOSEN)
        set_fields(config, fields)
        return str(fields)[:80]
    if way < 0.65:
        field, value = box.rng.choice(NUMBERS), box.rng.choice(ABSURD)
        set_fields(config, {field: value})
        return f"{field} = {value!r}"[:80]
    if way < 0.72:
        field = box.rng.choice([*NUMBERS, "model_type", "architectures", "rope_parameters", "dtype"])
        set_fields(config, {}, without=(field,))
        return f"{field} missing"
    if way < 0.82:
        return mutate_file(config, box.rng)
    if way < 0.9:
        generation = model / "generation_config.json"
        return (mutate_file if box.rng.random() < 0.6 else damage_file)(generation, box.rng)
    return damage_file(config, box.rng)
