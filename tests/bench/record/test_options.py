"""An option that cannot take effect is an error that names it."""

import pytest
from typer.testing import CliRunner

from dotresize.bench.record.settings import BenchSettings
from dotresize.cli import app
from dotresize.errors import OptionError

BENCH = ["bench", "a", "b", "-o", "out"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*BENCH, "--engine", "transformers", "--dtype", "int4"], "int4 is of ONNX exports"),
        ([*BENCH, "--dtype", "int4"], "with the vllm engine"),
        (
            [*BENCH, "--engine", "onnx", "--dtype", "float8"],
            "--dtype is 'float8'; choose one of fp32, fp16, bf16, int8, int4",
        ),
        ([*BENCH, "--engine", "transformers", "--concurrency", "2"], "--concurrency belongs to"),
        (
            [*BENCH, "--scenarios", "latency", "--evaluation-windows", "3"],
            "--evaluation-windows belongs to the scenario quality",
        ),
        ([*BENCH, "--scenarios", "memory", "--requests", "3"], "--requests belongs to"),
        ([*BENCH, "--limit", "3"], "--limit cannot take effect without --tasks"),
        (
            [*BENCH, "--slo-ttft-seconds", "1"],
            "--slo-ttft-seconds cannot take effect without --request-rates",
        ),
        (
            [*BENCH, "--scenarios", "latency", "--request-rates", "1"],
            "--request-rates belongs to the scenario",
        ),
        ([*BENCH, "--request-rates", "fast"], "--request-rates is 'fast', expected numbers such as 0.5,1,2"),
        ([*BENCH, "--request-rates", "0.01"], "--request-rates names 0.01, expected requests a second"),
        ([*BENCH, "--request-rates", "1,1"], "--request-rates is (1.0, 1.0), expected different"),
        ([*BENCH, "--request-rates", "1", "--slo-tpot-seconds", "0"], "--slo-tpot-seconds is 0.0"),
        ([*BENCH, "--limit", "0", "--tasks", "x"], "--limit is 0, expected 1"),
        ([*BENCH, "--evaluation-windows", "0"], "--evaluation-windows is 0, expected 1"),
        ([*BENCH, "--evaluation-windows", "-5"], "--evaluation-windows is -5, expected 1"),
        ([*BENCH, "--window-tokens", "1"], "--window-tokens is 1, expected 2"),
        ([*BENCH, "--seed", "-1"], "--seed is -1, expected 0"),
        ([*BENCH, "--resume", "--force"], "--resume keeps what --force replaces"),
        (["bench", "a", "b", "--compare", "--rounds", "3"], "--rounds cannot take effect with --compare"),
        (
            ["sweep", "m", "-o", "o", "--intermediate-size", "0.5", "--bench-dtype", "int8"],
            "int8 is of ONNX exports",
        ),
        ([*BENCH, "--vllm-flags", "'"], '--vllm-flags is "\'", which no shell can split'),
        (["perplexity", "m", "--evaluation-windows", "0"], "--evaluation-windows is 0"),
        (["perplexity", "m", "--evaluation-windows", "-5"], "--evaluation-windows is -5"),
        (["perplexity", "m", "--window-tokens", "1"], "--window-tokens is 1"),
        (["tasks", "m", "--tasks", "x", "--tokenizer", "t"], "--tokenizer belongs to endpoints"),
        (["tasks", "http://h/v1", "--tasks", "x", "--device", "cpu"], "--device belongs to directories"),
        (["tasks", "m", "--tasks", "x", "--limit", "0"], "--limit is 0"),
        (["tasks", "m", "--tasks", "x", "--seed", "-1"], "--seed is -1"),
    ],
)
def test_what_cannot_take_effect_is_named(arguments: list[str], message: str) -> None:
    found = CliRunner().invoke(app, arguments).exception
    assert isinstance(found, OptionError)
    assert message in str(found)


def test_defaults_that_nobody_typed_are_fine() -> None:
    for engine in ("vllm", "onnx", "transformers"):
        BenchSettings(engine=engine).check_effect()
        BenchSettings(engine=engine, scenarios=("memory",)).check_effect()
    BenchSettings(engine="onnx", precision="int4").check_effect()
    with pytest.raises(OptionError, match="dtype cannot take effect with the onnx engine"):
        BenchSettings(engine="onnx", dtype="float16").check_effect()
    BenchSettings(engine="vllm", tasks=("x",), task_limit=3).check_effect()
