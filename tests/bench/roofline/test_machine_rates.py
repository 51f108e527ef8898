"""Rates are checked against each other and against bounds that no machine leaves; never against a clock."""

from pathlib import Path

import pytest

from dotresize.bench.record.results import MachineRates
from dotresize.bench.roofline.machine_rates import measure_in_child, measure_rates
from dotresize.bench.roofline.model_cost import describe
from dotresize.errors import EngineError, OptionError


@pytest.fixture(scope="module")
def rates() -> MachineRates:
    return measure_rates("cpu", "float32", 1)


def test_rates_are_those_of_a_real_machine(rates: MachineRates) -> None:
    assert 1e9 < rates.matrix_flops_per_second < 1e14
    assert 1e8 < rates.read_bytes_per_second < 1e13
    assert [size for size, _ in rates.read_rates] == sorted(size for size, _ in rates.read_rates)
    assert rates.read_rates[-1] == (2**30, rates.read_bytes_per_second)
    assert rates.seconds_spent > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tpu", "float32", 1), "expected one of float32, bfloat16, float16, int8 on cpu or cuda"),
        (("cpu", "float64", 1), "rates of float64 on cpu"),
        (("cpu", "float32", 0), "0 threads; expected at least 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: tuple[str, str, int], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        measure_rates(*arguments)


def test_a_missing_gpu_is_said() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is an NVIDIA GPU here")
    with pytest.raises(OptionError, match="torch finds no GPU"):
        measure_rates("cuda", "float16", 1)


def test_a_child_measures_rates_and_kernels(pico_llama: Path) -> None:
    model = describe(pico_llama, name="pico", source="pico", dtype="auto")
    rates, kernels = measure_in_child(
        "cpu", "float32", 1, models=[model], batch_sizes=(1, 2), input_tokens=16
    )
    assert (rates.device, rates.dtype, rates.threads) == ("cpu", "float32", 1)
    assert set(kernels) == {("pico", phase, size) for phase in ("prefill", "decode") for size in (1, 2)}
    for seconds in kernels.values():
        assert set(seconds) == {"attention", "mlp", "head"}
        assert all(value > 0 for value in seconds.values())


def test_a_child_that_fails_is_one_line() -> None:
    with pytest.raises(EngineError, match="rates could not be measured: 0 threads; expected at least 1"):
        measure_in_child("cpu", "float32", 0)


@pytest.mark.gpu
def test_rates_and_kernels_of_a_gpu(pico_llama: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    model = describe(pico_llama, name="pico", source="pico", dtype="float16")
    rates, kernels = measure_in_child("cuda", "float16", 1, models=[model], batch_sizes=(1,), input_tokens=16)
    assert rates.matrix_flops_per_second > 1e11
    assert rates.read_bytes_per_second > 1e10
    assert len(kernels) == 2
