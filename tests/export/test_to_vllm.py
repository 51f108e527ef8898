"""The directory for vLLM: another dtype, or quantised; opened by real vLLM."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dotresize.errors import ManifestError, OptionError, TextError, WidthError
from dotresize.export.contract import manifest
from dotresize.export.disk.outputs import check_free
from dotresize.export.for_vllm.processor import has_int4_kernel, processor_flags
from dotresize.export.for_vllm.to_vllm import VllmConfig, export_vllm
from dotresize.export.proof.verify import verify

from ..text import TEXT

if TYPE_CHECKING:
    import torch

HAS_INT4 = has_int4_kernel(processor_flags())
CALIBRATED: dict[str, Any] = {
    "calibration": (TEXT,),
    "calibration_windows": 8,
    "window_tokens": 64,
}


def test_plain_is_the_same_model_in_another_dtype(pico_saved: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    written = export_vllm(pico_saved, tmp_path / "out", VllmConfig(dtype="bfloat16", shard_bytes=100_000))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["dtype"] == config["torch_dtype"] == written.precision == "bfloat16"
    assert config["head_dim"] == 32
    before = load_file(pico_saved / "model.safetensors")
    shards = sorted((tmp_path / "out").glob("model-*.safetensors"))
    assert len(shards) > 1
    after = {name: value for shard in shards for name, value in load_file(shard).items()}
    assert before.keys() == after.keys()
    for name, value in after.items():
        torch.testing.assert_close(value, before[name].to(torch.bfloat16), rtol=0, atol=0)
    assert (tmp_path / "out" / "chat_template.jinja").exists()
    assert (tmp_path / "out" / "LICENSE").read_text() == "of the pico model"
    check_free(tmp_path / "out", force=True)  # a licence is in the way of no repetition


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize": "int3"}, "expected one of none, fp8"),
        ({"dtype": "float64"}, "expected one of bfloat16"),
        ({"group_size": 64}, "no effect on --quantize none"),
        ({"quantize": "w8a8", "dtype": "float32"}, "not float32"),
        ({"shard_bytes": 0}, "positive"),
        ({"quantize": "w4a16", "group_size": 0}, "positive number such as 32"),
        ({"quantize": "w8a8", "group_size": 64}, "belongs to w4a16 and w8a16"),
        ({"rounding": "nearest"}, "--rounding has no effect on --quantize none"),
        ({"calibration": ("a.txt",)}, "--calibration has no effect on --quantize none"),
        ({"quantize": "w8a8", "rounding": "nearest", "calibration": ("a.txt",)}, "leave one of them out"),
        ({"quantize": "w8a8", "rounding": "calibrated"}, "needs a text: give --calibration builtin"),
        ({"quantize": "w8a8", "rounding": "up"}, "expected one of nearest, calibrated"),
        ({"quantize": "w8a8", "rounding": ""}, "expected one of nearest, calibrated"),
        ({"quantize": "w8a8", "seed": 1}, "--seed has no effect without --calibration"),
        (
            {"quantize": "w8a8", "calibration": ("a.txt",), "calibration_windows": 0},
            "a calibration of no tokens",
        ),
        ({"quantize": "w8a16", "provider": "cpu"}, "no kernel for w8a16 on a CPU.*use w8a8 or w4a16"),
        ({"quantize": "fp8", "provider": "cpu"}, "--provider cuda for a machine that has one"),
        ({"quantize": "w8a8", "provider": "npu"}, "expected one of auto, cpu, cuda"),
    ],
)
def test_options_that_cannot_take_effect_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        VllmConfig(**options)  # type: ignore[arg-type]


def test_groups_that_do_not_divide_are_refused_with_the_nearest_width(
    pico_saved: Path, tmp_path: Path
) -> None:
    pytest.importorskip("compressed_tensors")
    with pytest.raises(
        WidthError, match=r"hidden_size is 64.*multiple of 128; nearest widths that work: 128\."
    ):
        export_vllm(pico_saved, tmp_path / "out", VllmConfig(quantize="w4a16", group_size=128))
    assert list(tmp_path.iterdir()) == []


def _logits(directory: Path) -> "torch.Tensor":
    """Log-probabilities of text that the calibration below did not draw, computed by transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    from dotresize.compress.text.calibration import draw_windows
    from dotresize.export.disk.model_files import load_tokenizer

    drawn = draw_windows(TEXT, load_tokenizer(directory), windows=40, window_tokens=64, seed=9)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    with torch.no_grad():
        return model(drawn.token_ids).logits.log_softmax(-1)


@pytest.mark.parametrize("quantize", ["w4a16", "w8a16"])
def test_calibrated_rounding_loses_less(pico_saved: Path, tmp_path: Path, quantize: Any) -> None:
    pytest.importorskip("compressed_tensors")
    nearest = VllmConfig(quantize=quantize, provider="cuda")
    export_vllm(pico_saved, tmp_path / "nearest", nearest)
    record = export_vllm(pico_saved, tmp_path / "calibrated", replace(nearest, **CALIBRATED))
    assert record.quantisation is not None
    assert record.quantisation.calibration is not None
    assert (record.quantisation.rounding, record.quantisation.calibration.windows) == ("calibrated", 8)
    assert manifest.read(tmp_path / "calibrated") == record
    dense = _logits(pico_saved)
    losses = [
        float((dense.exp() * (dense - _logits(tmp_path / name))).sum(-1).mean())
        for name in ("calibrated", "nearest")
    ]
    assert losses[0] < 0.7 * losses[1], losses


def test_what_cannot_be_calibrated_is_refused_before_anything_is_written(
    pico_saved: Path, tmp_path: Path
) -> None:
    pytest.importorskip("compressed_tensors")
    config = VllmConfig(quantize="w4a16", **CALIBRATED)
    with pytest.raises(TextError, match="missing.txt is not a file"):
        export_vllm(
            pico_saved, tmp_path / "out", replace(config, calibration=(str(tmp_path / "missing.txt"),))
        )
    with pytest.raises(TextError, match="less than one window of 90000"):
        export_vllm(pico_saved, tmp_path / "out", replace(config, window_tokens=90_000))
    assert list(tmp_path.iterdir()) == []
    export_vllm(pico_saved, tmp_path / "once", VllmConfig(quantize="w4a16"))
    with pytest.raises(ManifestError, match="holds vllm at w4a16, expected a checkpoint"):
        export_vllm(tmp_path / "once", tmp_path / "twice", config)


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.skipif(not HAS_INT4, reason="vLLM has no kernel for w4a16 on this processor")
def test_calibrated_weights_run_in_real_vllm(pico_saved: Path, tmp_path: Path) -> None:
    pytest.importorskip("compressed_tensors")
    export_vllm(pico_saved, tmp_path / "out", VllmConfig(quantize="w4a16", **CALIBRATED))
    record = verify(tmp_path / "out")
    assert record.verified, record.verification


@pytest.mark.skipif(HAS_INT4, reason="this processor has the kernel")
def test_weights_that_vllm_cannot_multiply_here_are_not_given_to_it(pico_saved: Path, tmp_path: Path) -> None:
    pytest.importorskip("compressed_tensors")
    export_vllm(pico_saved, tmp_path / "out", VllmConfig(quantize="w4a16"))  # for another machine
    with pytest.raises(OptionError, match="no kernel for w4a16 on this processor, which lacks AVX-512"):
        verify(tmp_path / "out")
