"""What stays in memory between two passes over a sublayer."""

from dotresize.compress.layers.job import keeps_inner
from dotresize.compress.record.report import Widths

SMOLLM2 = Widths(
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    head_dim=64,
    vocab_size=49152,
)


def test_an_mlps_inner_activations_stay_while_they_are_a_few_layers_worth() -> None:
    layer_parameters = 2 * 576 * 64 * (9 + 3) + 3 * 576 * 1536
    most = 8 * layer_parameters // 1536
    assert keeps_inner(SMOLLM2, most, inner_width=1536)
    assert not keeps_inner(SMOLLM2, most + 1, inner_width=1536)


def test_what_is_no_wider_than_the_stream_always_stays() -> None:
    assert keeps_inner(SMOLLM2, 10**9, inner_width=576)
    assert not keeps_inner(SMOLLM2, 10**9, inner_width=577)
