"""GGUF: read back by transformers always, by llama.cpp where it is installed."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dotresize.errors import ManifestError, ModelError, OptionError, OutputError, WidthError
from dotresize.export.checkpoint.write import save
from dotresize.export.contract import manifest
from dotresize.export.for_gguf.tensors import rotate_pairs
from dotresize.export.for_gguf.to_gguf import GgufConfig, export_gguf, record_directory
from dotresize.export.proof.verify import verify


def runtimes(path: Path) -> set[str]:
    record = verify(path)
    assert record.verified, record.verification
    return {check.runtime.split()[0] for check in record.verification}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["pico_llama", "pico_mistral"])  # tied; untied
def test_every_family_is_read_back(
    compressed: Any, request: pytest.FixtureRequest, family: str, tmp_path: Path
) -> None:
    save(compressed(request.getfixturevalue(family)), tmp_path / "narrow")
    export_gguf(tmp_path / "narrow", tmp_path / "m.gguf", GgufConfig(type="f32"))
    expected = {"files", "transformers"}
    if importlib.util.find_spec("llama_cpp") is not None:
        expected.add("llama-cpp-python")
    assert runtimes(tmp_path / "m.gguf") == expected
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["m.gguf", "m.gguf.dotresize", "narrow"]


@pytest.mark.slow
def test_damage_is_seen(pico_saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    export_gguf(pico_saved, path, GgufConfig(type="f16"))
    with path.open("r+b") as stream:
        stream.seek(path.stat().st_size // 2)
        stream.write(bytes(4096))
    record = verify(path, runtime="transformers")
    assert {check.name for check in record.verification if not check.passed} >= {"file hashes", "logits"}


def test_keys_that_llama_cpp_would_guess_wrong_are_written(pico_saved: Path, tmp_path: Path) -> None:
    from gguf import GGUFReader

    export_gguf(pico_saved, tmp_path / "m.gguf", GgufConfig(type="q8_0"))
    reader = GGUFReader(tmp_path / "m.gguf")
    keys = {key: found.contents() for key, found in reader.fields.items() if key.startswith("llama.")}
    assert keys["llama.attention.key_length"] == 32  # hidden over heads would be 16
    assert keys["llama.attention.value_length"] == 32
    assert keys["llama.rope.dimension_count"] == 32
    assert reader.fields["tokenizer.ggml.pre"].contents() == "gpt-2"
    assert "<s>" in reader.fields["tokenizer.chat_template"].contents()
    assert {t.tensor_type.name for t in reader.tensors} == {"F32", "Q8_0"}
    beside = record_directory(tmp_path / "m.gguf")
    assert manifest.read(beside).precision == "q8_0"
    assert (beside / "LICENSE").read_text() == "of the pico model"
    export_gguf(pico_saved, tmp_path / "m.gguf", GgufConfig(type="f16"), force=True)  # in nobody's way
    assert manifest.read(beside).precision == "f16"


def test_rotation_by_neighbours_equals_rotation_by_halves() -> None:
    """RoPE by pairs on reordered rows is RoPE by halves on the rows as they were (both orders spelt out)."""
    rng = np.random.default_rng(0)
    heads, dim = 2, 8
    rows = rng.normal(size=(heads * dim, 3)).astype(np.float32)
    angle = rng.normal(size=dim // 2)
    halves = rows.reshape(heads, 2, dim // 2, 3)
    turned = np.stack(
        [
            halves[:, 0] * np.cos(angle)[:, None] - halves[:, 1] * np.sin(angle)[:, None],
            halves[:, 1] * np.cos(angle)[:, None] + halves[:, 0] * np.sin(angle)[:, None],
        ],
        axis=1,
    ).reshape(heads * dim, 3)
    pairs = rotate_pairs(rows, heads).reshape(heads, dim // 2, 2, 3)
    turned_pairs = np.stack(
        [
            pairs[:, :, 0] * np.cos(angle)[:, None] - pairs[:, :, 1] * np.sin(angle)[:, None],
            pairs[:, :, 1] * np.cos(angle)[:, None] + pairs[:, :, 0] * np.sin(angle)[:, None],
        ],
        axis=2,
    ).reshape(heads * dim, 3)
    np.testing.assert_allclose(rotate_pairs(turned, heads), turned_pairs, rtol=1e-6)


def test_rows_that_do_not_divide_are_refused_or_kept_in_f16(
    compressed: Any, save_pico: Any, tmp_path: Path
) -> None:
    from transformers import LlamaConfig

    from tests.picos import SHAPE

    odd = save_pico(LlamaConfig(**{**SHAPE, "hidden_size": 60}, tie_word_embeddings=False), "odd")
    save(compressed(odd), tmp_path / "narrow")
    with pytest.raises(WidthError, match="60 is no multiple of it; nearest widths that are: 32 or 64"):
        export_gguf(tmp_path / "narrow", tmp_path / "m.gguf", GgufConfig(type="q8_0"))
    assert [path.name for path in tmp_path.iterdir()] == ["narrow"]
    config = GgufConfig(type="q8_0", fallback_f16=True)
    assert export_gguf(tmp_path / "narrow", tmp_path / "m.gguf", config).precision == "q8_0+f16"


def test_bad_requests_are_refused(pico_saved: Path, pico_copy: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="expected one of f32"):
        GgufConfig(type="q2")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="no effect"):
        GgufConfig(type="f16", fallback_f16=True)
    with pytest.raises(ManifestError, match="not written by dotresize"):
        export_gguf(tmp_path, tmp_path / "m.gguf", GgufConfig())
    (tmp_path / "there.gguf").write_bytes(b"GGUF")
    with pytest.raises(OutputError, match="already exists"):
        export_gguf(pico_saved, tmp_path / "there.gguf", GgufConfig())
    text = (pico_copy / "tokenizer.json").read_text()
    (pico_copy / "tokenizer.json").write_text(text.replace('"ByteLevel"', '"Whitespace"', 1))
    with pytest.raises(ModelError, match="tokenizer|Whitespace"):
        export_gguf(pico_copy, tmp_path / "m.gguf", GgufConfig())
    assert not (tmp_path / "m.gguf").exists()


def test_a_kill_between_file_and_manifest_does_not_block_the_repeat(pico_saved: Path, tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.gguf", tmp_path / "m.gguf"
    export_gguf(pico_saved, whole, GgufConfig())
    shutil.copyfile(whole, path)  # the file has landed, its manifest has not
    record = export_gguf(pico_saved, path, GgufConfig())
    assert path.read_bytes() == whole.read_bytes()
    assert manifest.read(record_directory(path)) == record
    with pytest.raises(OutputError, match="already exists"):
        export_gguf(pico_saved, path, GgufConfig())
    path.unlink()  # as older versions could leave it: a manifest alone
    assert export_gguf(pico_saved, path, GgufConfig()) == record


def test_a_file_of_somebody_else_is_never_taken_for_an_unfinished_one(
    pico_saved: Path, tmp_path: Path
) -> None:
    from gguf import GGUFWriter

    foreign = tmp_path / "m.gguf"
    writer = GGUFWriter(foreign, "llama")
    writer.add_name("mine")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    before = foreign.read_bytes()
    with pytest.raises(OutputError, match="already exists"):
        export_gguf(pico_saved, foreign, GgufConfig())
    assert foreign.read_bytes() == before


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("rope_parameters", None, "lacks a usable 'rope_parameters'"),
        ("rope_parameters", {"rope_type": "default"}, "no rope_theta"),
        ("num_key_value_heads", "two", "damaged at num_key_value_heads"),
        ("vocab_size", None, "lacks a usable 'vocab_size'"),
    ],
)
def test_a_damaged_config_names_its_key(pico_copy: Path, key: str, value: Any, message: str) -> None:
    path = pico_copy / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ModelError, match=message):
        export_gguf(pico_copy, pico_copy.parent / "m.gguf", GgufConfig())
    assert sorted(entry.name for entry in pico_copy.parent.iterdir()) == [pico_copy.name]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"model": {"type": "BPE", "vocab": {"a": "b"}}}',
        '{"model": {"vocab": [], "type": "BPE"}}',
    ],
)
def test_a_damaged_tokenizer_is_refused(pico_copy: Path, text: str) -> None:
    (pico_copy / "tokenizer.json").write_text(text)
    with pytest.raises(ModelError, match="tokenizer"):
        export_gguf(pico_copy, pico_copy.parent / "m.gguf", GgufConfig())
