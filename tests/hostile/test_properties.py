"""Readers of what somebody else may have written, on arbitrary content: an error of ours, or a value."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dotresize.bench.record.settings import BenchSettings
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.text.documents import read_documents
from dotresize.errors import DotresizeError
from dotresize.export.artefact_info import inspect_artefact
from dotresize.export.contract import manifest
from dotresize.json_files import parse_json
from dotresize.serve.engine.model_facts import read_facts

MANIFEST = json.loads((Path(__file__).parents[1] / "export" / "manifest_v1" / "dotresize.json").read_text())
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.just(10**25),
    st.just("\ud800"),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ONE_FOLDER = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def fields(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [each for key, value in pairs for each in [(*path, key), *fields(value, (*path, key))]]


def replaced(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with one value exchanged."""
    if not path:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = replaced(data[path[0]], path[1:], value)
    return copy


@given(path=st.sampled_from(fields(MANIFEST)), value=JSON)
@ONE_FOLDER
def test_a_manifest_with_any_value_anywhere(path: tuple[Any, ...], value: Any, tmp_path: Path) -> None:
    (tmp_path / "dotresize.json").write_text(json.dumps(replaced(MANIFEST, path, value)))
    try:
        record = manifest.read(tmp_path)
    except DotresizeError:
        return
    assert manifest.Manifest.from_dict(json.loads(json.dumps(record.to_dict()))) == record


@given(config=st.dictionaries(st.sampled_from(
    ["architectures", "hidden_size", "num_attention_heads", "num_hidden_layers", "head_dim", "vocab_size",
     "intermediate_size", "quantization_config", "dtype", "num_key_value_heads", "max_position_embeddings"]
), JSON) | JSON)  # fmt: skip
@ONE_FOLDER
def test_a_config_of_any_content(config: Any, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    for read in (inspect_artefact, read_facts):
        try:
            read(tmp_path)
        except DotresizeError:
            continue


@given(content=st.binary(max_size=300), suffix=st.sampled_from([".txt", ".jsonl", ".parquet"]))
@ONE_FOLDER
def test_a_text_of_any_bytes(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_bytes(content)
    try:
        documents = read_documents(str(path), "calibration")
    except DotresizeError:
        return
    assert all(isinstance(document, str) and document.strip() for document in documents)


@given(text=st.text(st.sampled_from('[]{}":,1.eE-ntrufalse \\\n'), max_size=300))
@settings(deadline=None)
def test_json_of_any_text(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(DotresizeError, match="cannot be read"):
            parse_json(text, "it")
    else:
        assert repr(parse_json(text, "it")) == repr(expected)


@given(value=st.integers() | st.floats(), name=st.sampled_from(
    ["width", "hidden_size", "mlp_width", "intermediate_size", "reg", "ridge_tokens", "neuron_steps",
     "calibration_windows", "window_tokens", "seed"]
))  # fmt: skip
@settings(deadline=None)
def test_an_option_of_any_number(name: str, value: float) -> None:
    try:
        config = CompressConfig(**{"mlp_width": 0.5, name: value})  # type: ignore[arg-type]
    except DotresizeError:
        return
    fraction = name == "hidden_size" and isinstance(value, float)
    assert getattr(config, "width" if fraction else name) == value


@given(value=st.integers(), name=st.sampled_from(["rounds", "repeats", "warmup", "requests", "input_tokens"]))
@settings(deadline=None)
def test_a_benchmark_setting_of_any_number(name: str, value: int) -> None:
    try:
        chosen = BenchSettings(engine="transformers", **{name: value})  # type: ignore[arg-type]
    except DotresizeError:
        return
    assert 0 <= getattr(chosen, name) <= 1_000_000
