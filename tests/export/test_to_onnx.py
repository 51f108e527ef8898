"""ONNX: built by GenAI's builder, opened by both runtimes, refused with a reason."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dotresize.errors import ManifestError, ModelError, OptionError, OutputError
from dotresize.export.checkpoint.write import save
from dotresize.export.contract import manifest
from dotresize.export.disk.outputs import check_free
from dotresize.export.proof.verify import verify
from dotresize.export.to_onnx import OnnxConfig, export_onnx


@pytest.fixture(scope="module")
def int4(pico_saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("onnx") / "int4"
    export_onnx(pico_saved, output, OnnxConfig(precision="int4"))
    return output


def misses(path: Path) -> set[str]:
    return {check.name for check in verify(path).verification if not check.passed}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["pico_llama", "pico_mistral"])  # tied; untied
def test_float32_runs_and_says_the_same(
    compressed: Any, request: pytest.FixtureRequest, family: str, tmp_path: Path
) -> None:
    save(compressed(request.getfixturevalue(family)), tmp_path / "narrow")
    written = export_onnx(tmp_path / "narrow", tmp_path / "onnx", OnnxConfig(precision="fp32"))
    record = verify(tmp_path / "onnx")
    assert record.verified, record.verification
    (logits,) = [check for check in record.verification if check.name == "logits"]
    assert float(logits.measured["max_abs_error"]) < 1e-3  # float32 in another order of sums
    assert written.source is not None
    assert written.source.manifest_sha256 == manifest.read(tmp_path / "narrow").sha256
    assert record.sha256 == written.sha256, "verifying must not change what the directory is"


@pytest.mark.slow
def test_the_builder_is_named_without_the_commit_of_the_repository_around_it(int4: Path) -> None:
    """It looks for one above itself and finds this project's, whose next commit would change the bytes."""
    import onnx
    import onnxruntime_genai

    model = onnx.load(str(int4 / "model.onnx"), load_external_data=False)
    version, commit = onnxruntime_genai.__version__, onnxruntime_genai.__commit__
    assert model.producer_version in (version, f"{version}+{commit[:7]}")


def test_int4_passes_and_one_flipped_scale_fails(int4: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(int4, tmp_path / "broken"))
    assert misses(int4) == set()
    assert (int4 / "LICENSE").read_text() == "of the pico model"
    check_free(int4, force=True)  # a licence is in the way of no repetition
    flip_scales(broken, blocks=1)
    assert "file hashes" in misses(broken)


@pytest.mark.slow
def test_a_wrong_matrix_is_seen_without_the_hash_too(int4: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(int4, tmp_path / "broken"))
    flip_scales(broken, blocks=None)
    record = manifest.read(broken)
    files = {name: manifest.file_record(broken / name) for name in record.files}
    manifest.write(replace(record, files=files), broken)
    assert misses(broken) == {"logits"}


def flip_scales(directory: Path, blocks: int | None) -> None:
    """Change the sign of the first scales of the first quantised matrix, in the data file itself."""
    import onnx

    graph = onnx.load(directory / "model.onnx", load_external_data=False).graph
    name = next(node.input[2] for node in graph.node if node.op_type == "MatMulNBits")
    where = {entry.key: entry.value for t in graph.initializer if t.name == name for entry in t.external_data}
    data = np.memmap(directory / "model.onnx.data", np.uint8, "r+")
    start, length = int(where["offset"]), int(where["length"])
    scales = data[start : start + (4 * blocks if blocks else length)].view(np.float32)
    scales *= -4.0
    data.flush()


@pytest.mark.slow
def test_truncated_data_is_seen(int4: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(int4, tmp_path / "broken"))
    with (broken / "model.onnx.data").open("r+b") as stream:
        stream.truncate(1000)
    assert misses(broken) == {"file hashes", "loads and runs"}


def test_combinations_that_do_not_run_are_refused_before_any_work() -> None:
    with pytest.raises(
        OptionError, match="fp16 does not run on cpu; what works: cpu: fp32, int8, int4; cuda"
    ):
        OnnxConfig(precision="fp16", provider="cpu")


def test_cuda_without_a_gpu_is_refused(pico_saved: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(OptionError, match="needs an NVIDIA GPU"):
        export_onnx(pico_saved, tmp_path / "out", OnnxConfig(precision="fp16", provider="cuda"))


def test_what_is_not_a_finished_checkpoint_is_refused(pico_copy: Path, tmp_path: Path, int4: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ManifestError, match="expected a checkpoint"):
        export_onnx(int4, out, OnnxConfig())
    with pytest.raises(OutputError, match="an output never touches its source"):
        export_onnx(pico_copy, pico_copy, OnnxConfig())
    with pytest.raises(OutputError, match="already exists"):
        export_onnx(pico_copy, int4, OnnxConfig())
    (pico_copy / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    with pytest.raises(ModelError, match="no tokenizer.json"):
        export_onnx(pico_copy, out, OnnxConfig())
    (pico_copy / "model.safetensors").unlink()
    with pytest.raises(ManifestError, match="damaged or not finished"):
        export_onnx(pico_copy, out, OnnxConfig())
    (pico_copy / "dotresize.json").unlink()
    with pytest.raises(ManifestError, match="not written by dotresize"):
        export_onnx(pico_copy, out, OnnxConfig())
    assert not out.exists()


def test_a_builder_that_fails_leaves_nothing(pico_copy: Path, tmp_path: Path) -> None:
    config = pico_copy / "config.json"
    config.write_text(config.read_text().replace('"silu"', '"tanh"'))  # the builder has no such activation
    with pytest.raises(ModelError, match="model builder failed"):
        export_onnx(pico_copy, tmp_path / "out", OnnxConfig(precision="fp32"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pico"]
