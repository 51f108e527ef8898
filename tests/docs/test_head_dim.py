"""A smaller head dimension: the rank in the old shapes is what a stock model of fewer dimensions computes."""

from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from docs.make.head_dim.reduced import attended_moments, keep_pairs, keep_value_directions, value_projection

SHAPE: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


def pico(head_dim: int, **rope: float | str) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPE, head_dim=head_dim, rope_parameters={"rope_type": "default", **rope})
    return LlamaForCausalLM(config).eval()


def test_kept_pairs_are_a_stock_rotation_of_a_narrower_head() -> None:
    size, first, count = 16, 2, 4
    wide = pico(size, rope_theta=10000.0)
    keep_pairs(wide, first, count)
    narrow = pico(
        2 * count,
        rope_type="linear",
        rope_theta=10000.0 ** (2 * count / size),
        factor=10000.0 ** (2 * first / size),
    )
    kept = [*range(first, first + count), *range(size // 2 + first, size // 2 + first + count)]
    state = {name: value.clone() for name, value in wide.state_dict().items()}
    for name, value in state.items():
        if "q_proj" in name or "k_proj" in name:
            rows = value.view(-1, size, value.shape[-1])[:, kept].flatten(0, 1)
            state[name] = rows * (2 * count / size) ** 0.5 if "q_proj" in name else rows
    # Values as they are: the stock model has one head_dim, so both are compared with the same values dropped.
    for name in [name for name in state if "v_proj" in name or "o_proj" in name]:
        axis = 0 if "v_proj" in name else 1
        index = torch.arange(state[name].shape[axis]).view(-1, size)[:, : 2 * count].flatten()
        dropped = torch.ones(state[name].shape[axis], dtype=torch.bool)
        dropped[index] = False
        wide.get_parameter(name).data.index_fill_(axis, dropped.nonzero().flatten(), 0)
        state[name] = state[name].index_select(axis, index)
    narrow.load_state_dict(state)
    tokens = torch.randint(0, 40, (1, 33))
    torch.testing.assert_close(narrow(tokens).logits, wide(tokens).logits, atol=1e-5, rtol=1e-4)


def test_directions_that_outputs_do_not_feel_cost_nothing() -> None:
    torch.manual_seed(1)
    seen = torch.randn(200, 8, dtype=torch.float64)
    outputs = torch.randn(2, 24, 3, dtype=torch.float64) @ torch.randn(3, 8, dtype=torch.float64)
    projection = value_projection(outputs, seen.mT @ seen / 200, 3)
    assert int(torch.linalg.matrix_rank(projection)) == 3
    torch.testing.assert_close(outputs @ projection, outputs)


@torch.no_grad()
def test_more_directions_lose_less_and_all_of_them_nothing() -> None:
    tokens = torch.randint(0, 40, (6, 16))
    wanted = pico(8, rope_theta=10000.0)(tokens).logits
    errors = []
    for rank in (2, 5, 8):
        model = pico(8, rope_theta=10000.0)
        keep_value_directions(model, attended_moments(model, tokens), rank)
        errors.append(float((model(tokens).logits - wanted).norm()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 * errors[0]
