"""Widths under whatever name a config has for them."""

from dotresize.compress.families.rows import FAMILIES
from dotresize.compress.families.shape import head_dim_of, known_widths, standard_names, widths_of


def test_a_gpt2_has_its_widths_under_the_usual_names() -> None:
    config = {"n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "n_inner": None}
    found = standard_names(config)
    assert found["hidden_size"] == 768
    assert found["num_attention_heads"] == found["num_hidden_layers"] == 12
    assert found["intermediate_size"] == 3072
    assert found["max_position_embeddings"] == 1024
    assert standard_names(config | {"n_inner": 2048})["intermediate_size"] == 2048
    assert standard_names({"ffn_dim": 96})["intermediate_size"] == 96


def test_the_config_has_the_last_word_on_head_dim() -> None:
    assert head_dim_of({"hidden_size": 576, "num_attention_heads": 9}) == 64
    assert head_dim_of({"hidden_size": 459, "num_attention_heads": 9, "head_dim": 64}) == 64
    assert head_dim_of({"n_embd": 768, "n_head": 12}) == 64


def test_what_a_config_leaves_out_follows_from_the_rest() -> None:
    said = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 100}
    assert known_widths(said) == said | {"num_key_value_heads": 4, "head_dim": 16}
    assert known_widths({"d_model": 512}) == {}
    assert widths_of(said).intermediate_size == 0  # not stated
    assert widths_of(said | {"num_key_value_heads": 2}).cache_elements_per_token == 2 * 2 * 2 * 16


def test_a_mixture_has_the_widths_of_its_experts() -> None:
    from transformers import Qwen3MoeConfig

    config = Qwen3MoeConfig(hidden_size=64, moe_intermediate_size=48, intermediate_size=96, num_experts=6)
    widths = widths_of(config, FAMILIES["qwen3_moe"])
    assert (widths.intermediate_size, widths.num_experts) == (48, 6)
    assert widths_of(config).intermediate_size == 96
