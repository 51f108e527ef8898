"""The directory for vLLM: another dtype, or quantised; opened by real vLLM."""

import json
from pathlib import Path

import pytest

from dotresize.errors import OptionError, WidthError
from dotresize.export.to_vllm import VllmConfig, export_vllm
from dotresize.export.verify import verify


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize": "int3"}, "expected one of none, fp8"),
        ({"dtype": "float64"}, "expected one of bfloat16"),
        ({"group_size": 64}, "no effect on --quantize none"),
        ({"quantize": "w8a8", "dtype": "float32"}, "not float32"),
        ({"shard_bytes": 0}, "positive"),
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


@pytest.mark.slow
@pytest.mark.vllm
def test_quantised_weights_run_in_real_vllm(pico_saved: Path, tmp_path: Path) -> None:
    pytest.importorskip("compressed_tensors")
    export_vllm(pico_saved, tmp_path / "out", VllmConfig(quantize="w8a8"))
    record = verify(tmp_path / "out")
    assert record.verified, record.verification
