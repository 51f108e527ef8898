"""Oracles: torch's own kl_div in float64, the unchunked computation, and bounds from information theory."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from dotresize.recover.losses.chunks import Head, by_autograd, chunked_forward_kl, chunked_mean
from dotresize.recover.losses.loss import (
    forward_kl,
    next_token_loss,
    stream_error,
    top_k_forward_kl,
)

N, D, S, V = 10, 6, 4, 13


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_forward_kl_is_torchs(temperature: float) -> None:
    teacher, student = 3 * random(N, V, seed=0), 3 * random(N, V, seed=1)
    expected = torch.nn.functional.kl_div(
        torch.log_softmax(student.double() / temperature, -1),
        torch.log_softmax(teacher.double() / temperature, -1),
        reduction="none",
        log_target=True,
    ).sum(-1)
    # float32 logarithms of probabilities of order one
    assert_close(
        forward_kl(teacher, student, temperature).double(), expected * temperature**2, rtol=1e-4, atol=1e-6
    )
    assert_close(forward_kl(teacher, teacher, temperature), torch.zeros(N), rtol=0, atol=1e-6)


def test_chunks_change_neither_value_nor_gradient() -> None:
    teacher_head, student_head = random(V, D, seed=2), random(V, S, seed=3).requires_grad_()
    teacher, student = random(N, D, seed=4), random(N, S, seed=5).requires_grad_()
    whole = forward_kl(teacher @ teacher_head.T, student @ student_head.T, 2.0).mean()
    whole.backward()
    kept = [student.grad, student_head.grad]
    student.grad = student_head.grad = None
    parts = chunked_forward_kl(
        teacher,
        Head(lambda rows: rows @ teacher_head.T),
        student,
        Head(lambda rows: rows @ student_head.T, (student_head,)),
        temperature=2.0,
        chunk=3,  # does not divide the number of positions
    )
    parts.backward()
    assert_close(parts, whole)
    assert_close([student.grad, student_head.grad], kept)


def test_top_k_with_all_tokens_is_the_full_kl_and_fewer_never_exceed_it() -> None:
    teacher, student = 2 * random(N, V, seed=6), 2 * random(N, V, seed=7)
    full = forward_kl(teacher, student)
    previous = torch.zeros(N)
    for k in range(1, V + 1):
        kept = torch.log_softmax(teacher, -1).topk(k, -1)
        found = top_k_forward_kl(kept.values, kept.indices, student)
        assert bool((found <= full + 1e-5).all())
        assert bool((found >= previous - 1e-5).all())  # a finer partition tells more
        previous = found
    assert_close(previous, full, rtol=1e-4, atol=1e-5)


def test_stream_error_is_zero_at_the_target_and_one_at_zero() -> None:
    teacher, project = random(N, D, seed=8) * 100, random(D, S, seed=9)
    assert_close(stream_error(teacher, teacher @ project, project), torch.tensor(0.0))
    assert_close(stream_error(teacher, torch.zeros(N, S), project), torch.tensor(1.0))


def test_next_token_loss_of_equal_logits_is_the_log_of_the_vocabulary() -> None:
    loss = next_token_loss(torch.zeros(N, V), torch.zeros(N, dtype=torch.int64))
    assert_close(loss, torch.full((N,), math.log(V)))


def test_any_loss_in_chunks_has_the_gradient_of_the_whole() -> None:
    head, bias = random(V, S, seed=10).requires_grad_(), random(V, seed=11).requires_grad_()
    hidden = random(N, S, seed=12).requires_grad_()
    token_ids = torch.arange(N) % V
    inputs = (hidden, head, bias)

    def logits(rows: Tensor) -> Tensor:
        return torch.tanh(rows @ head.T + bias)  # as families that cap their logits do

    whole = 3.0 * next_token_loss(logits(hidden), token_ids).mean()
    expected = torch.autograd.grad(whole, inputs)
    measure = by_autograd(lambda start, stop, part: next_token_loss(part, token_ids[start:stop]))
    parts = 3.0 * chunked_mean(hidden, Head(logits, (head, bias)), measure, chunk=4)
    assert_close(parts, whole)
    assert_close(torch.autograd.grad(parts, inputs), expected)
    with torch.no_grad():
        assert_close(3.0 * chunked_mean(hidden, Head(logits, (head, bias)), measure, chunk=4), whole)
