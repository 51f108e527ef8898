"""What each family can be exported to, and a refusal that names what works for the others."""

from pathlib import Path

import pytest

from dotresize.compress.families.rows import FAMILIES
from dotresize.errors import ModelError
from dotresize.export import to_onnx
from dotresize.export.for_gguf.to_gguf import GgufConfig, export_gguf
from dotresize.export.proof.verify import verify
from dotresize.export.to_onnx import OnnxConfig, export_onnx

from .conftest import SaveFamily
from .models.narrowed import save_narrowed

IN_ONNX = [family for family, row in FAMILIES.items() if row.architecture in to_onnx.ARCHITECTURES]
# the layouts that differ most from Llama and Mistral, which tests/export has
BUILT = ("qwen3", "gemma2")


@pytest.mark.slow
@pytest.mark.parametrize("family", BUILT)
def test_onnx_runtime_computes_what_stock_transformers_does(
    family: str, save_family: SaveFamily, tmp_path: Path
) -> None:
    save_narrowed(family, save_family(family), tmp_path / "narrow")
    export_onnx(tmp_path / "narrow", tmp_path / "onnx", OnnxConfig(precision="fp32"))
    record = verify(tmp_path / "onnx")
    assert record.verified, record.verification


@pytest.mark.parametrize("family", FAMILIES)
def test_what_has_no_export_is_refused_with_what_has(
    family: str, save_family: SaveFamily, tmp_path: Path
) -> None:
    """In GGUF all of these: their heads are of 32, or they have biases, windows or no form at all."""
    save_narrowed(family, save_family(family), tmp_path / "narrow", compensate="none")
    assert ("vLLM does not load it" in (tmp_path / "narrow" / "dotresize.json").read_text()) == (
        family == "gemma2"
    )
    if family not in IN_ONNX or family == "mistral":  # whose pico has a window
        with pytest.raises(ModelError, match=r"it exports (Gemma[^\n]*LlamaForCausalLM|models without a w)"):
            export_onnx(tmp_path / "narrow", tmp_path / "onnx", OnnxConfig())
    with pytest.raises(ModelError, match="nothing could prove|beyond the window|what has one: LlamaForC"):
        export_gguf(tmp_path / "narrow", tmp_path / "m.gguf", GgufConfig())
    assert [path.name for path in tmp_path.iterdir()] == ["narrow"]
