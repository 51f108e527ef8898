"""Sampling against the distribution that it must follow."""

import numpy as np
import pytest

from dotresize.serve.onnx_server.sampling import choose_token

LOGITS = np.log(np.array([0.5, 0.25, 0.15, 0.1], dtype=np.float32))
DRAWS = 20_000


def frequencies(*, temperature: float = 1.0, top_p: float = 1.0, top_k: int = 0) -> np.ndarray:
    generator = np.random.default_rng(0)
    drawn = [
        choose_token(LOGITS, temperature=temperature, top_p=top_p, top_k=top_k, generator=generator)
        for _ in range(DRAWS)
    ]
    return np.bincount(drawn, minlength=len(LOGITS)) / DRAWS


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.5, 0.25, 0.15, 0.1]),
        ({"temperature": 0.5}, np.array([0.25, 0.0625, 0.0225, 0.01]) / 0.345),
        ({"top_k": 2}, [2 / 3, 1 / 3, 0, 0]),
        ({"top_p": 0.7}, [2 / 3, 1 / 3, 0, 0]),  # 0.5 is less than 0.7, 0.75 is not
        ({"top_p": 0.5}, [1, 0, 0, 0]),
        ({"top_p": 0.9, "top_k": 3}, np.array([0.5, 0.25, 0.15, 0]) / 0.9),  # 0.75 of these three are 0.83
        ({"temperature": 0}, [1, 0, 0, 0]),
    ],
)
def test_draws_follow_the_distribution(options: dict[str, float], expected: np.ndarray) -> None:
    # five standard deviations of a frequency near one half
    tolerance = 5 * 0.5 / np.sqrt(DRAWS)
    np.testing.assert_allclose(frequencies(**options), expected, atol=tolerance)  # type: ignore[arg-type]


def test_equal_logits_are_settled_by_the_lowest_id() -> None:
    logits = np.array([1.0, 3.0, 3.0], dtype=np.float32)
    for temperature, top_k in ((0.0, 0), (1.0, 1)):
        generator = np.random.default_rng(1)
        assert choose_token(logits, temperature=temperature, top_p=1.0, top_k=top_k, generator=generator) == 1
