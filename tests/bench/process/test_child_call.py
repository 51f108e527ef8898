"""The protocol of our children, spoken with a real module in a real process."""

import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dotresize.bench.process.child_call import answer, call_child
from dotresize.bench.process.watched_child import run_watched
from dotresize.bench.record.results import Estimate
from dotresize.bench.roofline.machine_rates import RatesReply, RatesRequest
from dotresize.errors import EngineError, OptionError

RATES = "dotresize.bench.roofline.machine_rates"


@dataclass(frozen=True, kw_only=True)
class Asked:
    values: list[float]
    pair: tuple[int, int] = (1, 2)
    nested: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Told:
    total: float
    by_name: dict[str, list[Estimate]] = field(default_factory=dict)


def _served(
    monkeypatch: pytest.MonkeyPatch, folder: Path, request: object, work: object
) -> dict[str, object]:
    """What `answer` writes for a request, in this process."""
    asked, replied = folder / "request.json", folder / "reply.json"
    asked.write_text(json.dumps(request))
    monkeypatch.setattr(sys, "argv", ["child", str(asked), str(replied)])
    try:
        answer(Asked, work)  # type: ignore[arg-type]
    finally:
        found: dict[str, object] = json.loads(replied.read_text())
    return found


def test_requests_and_replies_are_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def work(asked: Asked) -> Told:
        assert asked == Asked(values=[1.5, 2.5], pair=(3, 4), nested=Estimate(value=1.0, standard_error=None))
        return Told(total=sum(asked.values), by_name={"a": [Estimate(value=0.1, standard_error=math.nan)]})

    request = {"values": [1.5, 2.5], "pair": [3, 4], "nested": {"value": 1.0, "standard_error": None}}
    reply = _served(monkeypatch, tmp_path, request, work)
    assert reply["total"] == 4.0
    (estimate,) = reply["by_name"]["a"]  # type: ignore[index]
    assert math.isnan(estimate["standard_error"])  # a number that is none is no null


def test_an_error_of_ours_is_the_reply_and_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def work(asked: Asked) -> Told:
        raise OptionError("too few values")

    with pytest.raises(OptionError, match="too few values"):
        _served(monkeypatch, tmp_path, {"values": []}, work)
    assert json.loads((tmp_path / "reply.json").read_text()) == {
        "error": "OptionError",
        "message": "too few values",
    }


def test_an_error_of_ours_crosses_as_itself() -> None:
    request = RatesRequest(device="cpu", dtype="float64", threads=1)
    with pytest.raises(OptionError, match="rates of float64 on cpu; expected one of"):
        call_child(RATES, request, RatesReply)


def test_a_child_that_dies_is_an_engine_error() -> None:
    request = RatesRequest(device="cpu", dtype="float32", threads=1)
    with pytest.raises(EngineError, match="no_such_module ended early: .*No module named"):
        call_child("dotresize.bench.no_such_module", request, RatesReply)


def test_a_child_that_takes_too_long_is_ended_and_said() -> None:
    request = RatesRequest(device="cpu", dtype="float32", threads=1)
    with pytest.raises(EngineError, match="machine_rates ended early: it took over 0 s and was ended"):
        call_child(RATES, request, RatesReply, timeout_seconds=0.01)


def test_a_watched_child_that_fails_keeps_its_words(tmp_path: Path) -> None:
    (tmp_path / "reply.json").write_text("of an earlier child")
    run, reply = run_watched(
        RATES,
        RatesRequest(device="cpu", dtype="float64", threads=1),
        RatesReply,
        folder=tmp_path,
        environment={},
        log_path=tmp_path / "log",
        timeout_seconds=300,
    )
    assert reply is None
    assert run.exit_code == 1
    assert "rates of float64 on cpu" in run.output
