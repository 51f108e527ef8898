"""Widths under whatever name a config has for them."""

from dotresize.compress.shape import head_dim_of, standard_names


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
