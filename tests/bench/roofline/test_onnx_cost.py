"""Oracles: the checkpoint that the graph was made from, and the weights in the file."""

import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dotresize.bench.record.results import BenchModel
from dotresize.bench.roofline.kernel_times import time_kernels
from dotresize.bench.roofline.model_cost import describe
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.errors import ModelError
from dotresize.export.checkpoint.write import save
from dotresize.export.to_onnx import OnnxConfig, export_onnx

if TYPE_CHECKING:
    from dotresize.export.to_onnx import Precision


def described(directory: Path) -> BenchModel:
    return describe(directory, name="a", source=str(directory), dtype="auto")


@pytest.fixture(scope="module")
def narrow(pico_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("narrow") / "narrow"
    config = CompressConfig(intermediate_size=64, calibration_windows=4, window_tokens=64)
    save(compress(str(pico_llama), config), directory)
    return directory


@pytest.fixture(scope="module", params=["fp32", "int4"])
def onnx_directory(
    request: pytest.FixtureRequest, narrow: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    precision: Precision = request.param
    directory = tmp_path_factory.mktemp("onnx") / precision
    export_onnx(narrow, directory, OnnxConfig(precision=precision))
    return directory


def test_a_graph_costs_what_its_files_hold(narrow: Path, onnx_directory: Path) -> None:
    import onnx

    model, checkpoint = described(onnx_directory), described(narrow)
    graph = onnx.load(onnx_directory / "model.onnx").graph  # with the weights, which `describe` leaves alone
    stored = sum(cost.weight_bytes for cost in model.parts.values())
    assert stored == sum(len(tensor.raw_data) for tensor in graph.initializer)
    assert model.parameters == checkpoint.parameters
    for part, cost in model.parts.items():
        assert cost.flops_per_token == checkpoint.parts[part].flops_per_token
        assert cost.decode_bytes <= cost.weight_bytes == cost.loaded_bytes
    if onnx_directory.name == "fp32":
        for part in ("mlp", "norm", "head"):  # attention has the position tables as well
            assert model.parts[part].decode_bytes == checkpoint.parts[part].decode_bytes


def test_the_rest_is_that_of_the_checkpoint(narrow: Path, onnx_directory: Path) -> None:
    model, checkpoint = described(onnx_directory), described(narrow)
    for field in ("hidden_size", "intermediate_size", "num_hidden_layers", "head_dim", "vocab_size"):
        assert getattr(model, field) == getattr(checkpoint, field)
    assert model.kv_bytes_per_token == checkpoint.kv_bytes_per_token  # float32 on the CPU
    assert model.tokenizer_sha256 == checkpoint.tokenizer_sha256
    assert model.precision == onnx_directory.name
    assert model.compute_dtype == {"fp32": "float32", "int4": "int8"}[onnx_directory.name]
    assert model.head_every_position  # the builder's default


def test_without_a_manifest_the_graph_says_the_precision(onnx_directory: Path, tmp_path: Path) -> None:
    copy = tmp_path / "foreign"
    shutil.copytree(onnx_directory, copy)
    (copy / "dotresize.json").unlink()
    assert described(copy).precision == onnx_directory.name


def test_kernels_run_on_the_graph_itself(onnx_directory: Path) -> None:
    model = described(onnx_directory)
    # in a process of its own, as always: no other session would start where all share a pool of threads
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        run = processes.submit(time_kernels, model, 8, "cpu", model.compute_dtype, 1, head_rows=1)
        seconds = run.result(timeout=120)
    assert set(seconds) == {"attention", "mlp", "head"}
    assert all(0 < value < 1 for value in seconds.values())
    assert time_kernels(model, 8, "cuda", model.compute_dtype, 1) == {}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("genai_config.json", r"genai_config\.json cannot be read"),
        ("model.onnx", "cannot be read by onnx"),
    ],
)
def test_what_is_truncated_is_named(onnx_directory: Path, tmp_path: Path, name: str, message: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(onnx_directory, copy)
    whole = (copy / name).read_bytes()
    (copy / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=message):
        described(copy)
