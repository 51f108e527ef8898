"""The timing definitions, on a record whose times are known."""

import pytest

from dotresize.serve.client.record import RequestRecord, Usage


def record(token_seconds: tuple[float, ...], usage: Usage | None = None) -> RequestRecord:
    return RequestRecord(
        outcome="ok",
        error="",
        http_status=200,
        sent_seconds=10.0,
        ended_seconds=13.0,
        token_seconds=token_seconds,
        token_ids=(),
        counted_by="chunks",
        text="",
        finish_reason="stop",
        usage=usage,
    )


def test_latencies_follow_the_definitions() -> None:
    found = record((10.5, 11.0, 12.5))  # binary fractions: exact
    assert found.ttft_seconds == 0.5
    assert found.e2el_seconds == 2.5
    assert found.itl_seconds == (0.5, 1.5)
    assert found.tpot_seconds == 1.0
    assert found.tokens == 3


@pytest.mark.parametrize("times", [(), (10.5,)])
def test_too_few_tokens_give_no_rate(times: tuple[float, ...]) -> None:
    found = record(times)
    assert found.tpot_seconds is None
    assert found.itl_seconds == ()
    assert (found.ttft_seconds is None) == (not times)
    assert (found.e2el_seconds is None) == (not times)


def test_the_server_s_count_is_compared() -> None:
    times = (10.5, 11.0)
    assert record(times).usage_agrees is None
    assert record(times, Usage(prompt_tokens=3, completion_tokens=2)).usage_agrees is True
    assert record(times, Usage(prompt_tokens=3, completion_tokens=3)).usage_agrees is False
