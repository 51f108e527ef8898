"""The real SmolLM2, narrowed on both axes, in every runtime; and files that are really large."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from dotresize.export.checkpoint.write import save
from dotresize.export.contract.manifest import Manifest
from dotresize.export.for_gguf.to_gguf import GgufConfig, export_gguf
from dotresize.export.proof.verify import verify
from dotresize.export.to_onnx import OnnxConfig, export_onnx


def kl(record: Manifest) -> float:
    """Mean KL of the first logits that were compared; the whole verification must have passed."""
    assert record.verified, record.verification
    return float(next(check for check in record.verification if check.name == "logits").measured["mean_kl"])


@pytest.mark.slow
def test_onnx_float32_and_int4(
    narrow_smollm2_directory: Path, narrow_smollm2_onnx: Path, tmp_path: Path
) -> None:
    plain = shutil.copytree(narrow_smollm2_onnx, tmp_path / "fp32")  # verify writes into it
    small = tmp_path / "int4"
    assert kl(verify(plain)) < 1e-8
    export_onnx(narrow_smollm2_directory, small, OnnxConfig(precision="int4"))
    assert 1e-3 < kl(verify(small)) < 1.0, "four bits change the distribution, and do not destroy it"
    assert (small / "model.onnx.data").stat().st_size < 0.5 * (plain / "model.onnx.data").stat().st_size


@pytest.mark.slow
def test_gguf_float16(narrow_smollm2_directory: Path, tmp_path: Path) -> None:
    export_gguf(narrow_smollm2_directory, tmp_path / "m.gguf", GgufConfig(type="f16"))
    assert kl(verify(tmp_path / "m.gguf")) < 1e-4


@pytest.mark.slow
@pytest.mark.huge  # 85 seconds and 10 GB of disk
def test_external_data_above_two_gigabytes(compressed: Any, pico_tokenizer: Any, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    from tests.picos import SHAPE

    wide = {**SHAPE, "hidden_size": 2048, "intermediate_size": 90_000, "num_hidden_layers": 1}
    config = LlamaConfig(**wide, tie_word_embeddings=True)
    config.initializer_range = 0.002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(tmp_path / "wide")
    pico_tokenizer.save_pretrained(tmp_path / "wide")
    del model
    save(compressed(tmp_path / "wide"), tmp_path / "narrow")
    export_onnx(tmp_path / "narrow", tmp_path / "onnx", OnnxConfig(precision="fp32"))
    assert (tmp_path / "onnx" / "model.onnx.data").stat().st_size > 2**31
    assert verify(tmp_path / "onnx").verified
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.unlink()  # pytest keeps the folders of the last runs
