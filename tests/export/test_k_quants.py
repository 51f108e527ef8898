"""K-quants: made by llama.cpp where it is installed; what is refused, and what it is told, everywhere."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from dotresize.compress.record.progress import Silent
from dotresize.compress.weights.source import load_dense
from dotresize.errors import MissingDependencyError, ModelError, OptionError, TextError
from dotresize.export.artefact_info import inspect_artefact
from dotresize.export.checkpoint.write import save
from dotresize.export.contract import manifest
from dotresize.export.for_gguf.config import GgufConfig, QuantisedType
from dotresize.export.for_gguf.forms import FORMS
from dotresize.export.for_gguf.importance import LEAST, importance_of, mean_squares
from dotresize.export.for_gguf.quantise import quantise, quantised_bytes
from dotresize.export.for_gguf.tensors import exact_type, plan_tensors
from dotresize.export.for_gguf.to_gguf import export_gguf, record_directory
from dotresize.export.proof.comparison import limits_for
from dotresize.export.proof.verify import verify

from ..text import TEXT

LLAMA = FORMS["LlamaForCausalLM"]
with_llama_cpp = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None,
    reason="llama.cpp makes k-quants, and llama-cpp-python is not installed",
)


def calibrated(kind: str = "q4_k_m", **options: Any) -> GgufConfig:
    chosen = {"calibration": (TEXT,), "calibration_windows": 4, "window_tokens": 32} | options
    return GgufConfig(type=kind, **chosen)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def wide(compressed: Any, save_pico: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tied; rows of 256 but for the MLP's second matrix, whose rows of 96 blocks of 256 do not divide."""
    from transformers import LlamaConfig

    from tests.picos import SHAPE

    shape = {**SHAPE, "hidden_size": 256, "num_attention_heads": 8, "initializer_range": 0.08}
    directory = tmp_path_factory.mktemp("wide") / "narrow"
    save(compressed(save_pico(LlamaConfig(**shape, tie_word_embeddings=True), "wide")), directory)
    return directory


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"type": "q4_k_m", "fallback_f16": True}, "no effect on --dtype q4_k_m: llama.cpp itself"),
        ({"type": "iq4_xs", "fallback_f16": True}, "no effect on --dtype iq4_xs: llama.cpp itself"),
        ({"type": "q8_0", "calibration": ("builtin",)}, "--calibration has no effect on --dtype q8_0"),
        ({"type": "f16", "calibration": ("builtin",)}, "choose one of q2_k, q3_k_m, "),
        ({"type": "q4_k_m", "calibration_windows": 4}, "--calibration-windows has no effect without --cal"),
        ({"type": "q4_k_m", "window_tokens": 4}, "--window-tokens has no effect without --calibration"),
        ({"type": "f16", "seed": 1}, "--seed has no effect without --calibration"),
        ({"type": "q4_k_m", "device": "cpu"}, "--device has no effect without --calibration"),
        (
            {"type": "q4_k_m", "calibration": ("builtin",), "calibration_windows": 0},
            "--calibration-windows is 0, a calibration of no tokens; expected at least 1, such as 128",
        ),
        ({"type": "q4_k"}, "--dtype q4_k is unknown, expected one of f32, .*q4_k_m"),
    ],
)
def test_what_cannot_take_effect_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        GgufConfig(**options)


def test_a_missing_llama_cpp_is_said_before_anything_is_read(tmp_path: Path) -> None:
    if importlib.util.find_spec("llama_cpp") is not None:
        pytest.skip("llama-cpp-python is installed")
    with pytest.raises(MissingDependencyError, match=r"q6_k is made by llama.cpp, .*dotresize\[gguf\]"):
        export_gguf(tmp_path / "nowhere", tmp_path / "m.gguf", GgufConfig(type="q6_k"))
    command = [
        sys.executable,
        "-m",
        "dotresize",
        "export",
        "gguf",
        "nowhere",
        "-o",
        "m.gguf",
        "--dtype",
        "q6_k",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_every_type_has_limits() -> None:
    for kind in get_args(QuantisedType):
        assert limits_for(kind) == limits_for(f"{kind}+q5_0+q8_0")
        assert limits_for(f"llama.cpp {kind}").mean_kl >= limits_for(kind).mean_kl


@pytest.mark.parametrize(("dtype", "kind"), [("float32", "f32"), ("float16", "f16"), ("bfloat16", "bf16")])
def test_llama_cpp_gets_the_stored_weights_to_the_bit(
    compressed: Any, pico_llama: Path, tmp_path: Path, dtype: str, kind: str
) -> None:
    save(compressed(pico_llama, dtype), tmp_path / "narrow")
    assert exact_type(tmp_path / "narrow") == kind


def test_mean_squares_are_those_of_what_the_layers_get(pico_llama: Path) -> None:
    """Trusts `output_hidden_states`: what enters the first layer, after its norm, enters the query."""
    model = load_dense(str(pico_llama)).model.float()
    ids = torch.arange(64).reshape(2, 32)
    found = mean_squares(model, ids, Silent())
    linears = [name for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)]
    assert list(found) == linears
    with torch.inference_mode():
        states = model(input_ids=ids, output_hidden_states=True).hidden_states
        entering = model.model.layers[0].input_layernorm(states[0])
    for name, values in (("model.layers.0.self_attn.q_proj", entering), ("lm_head", states[-1])):
        expected = values.double().square().mean(dim=(0, 1))
        torch.testing.assert_close(
            found[name], expected, rtol=1e-5, atol=1e-8
        )  # one window at a time: float32
    assert torch.equal(found["model.layers.1.mlp.gate_proj"], found["model.layers.1.mlp.up_proj"])
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_a_tied_head_weighs_the_embedding_and_no_input_counts_nothing(
    compressed: Any, pico_llama: Path, pico_llama_untied: Path, tmp_path: Path
) -> None:
    names = {}
    for source in (pico_llama, pico_llama_untied):
        save(compressed(source), tmp_path / source.name)
        found = importance_of(tmp_path / source.name, LLAMA, calibrated(), Silent())
        assert all(values.dtype == np.float32 for values in found.values.values())
        assert all(values.min() >= LEAST / 2 * values.mean() > 0 for values in found.values.values())
        assert (found.calibration.windows, found.calibration.window_tokens) == (4, 32)
        names[source.name] = set(found.values)
    layers = {name for name in names["llama-tied"] if name.startswith("blk.")}
    assert len(layers) == 3 * 7
    assert names["llama-tied"] == layers | {"token_embd.weight"}
    assert names["llama-untied"] == layers | {"output.weight"}


@with_llama_cpp
@pytest.mark.slow
@pytest.mark.parametrize("kind", get_args(QuantisedType))
def test_every_type_is_read_back(wide: Path, tmp_path: Path, kind: QuantisedType) -> None:
    lines: list[str] = []
    path = tmp_path / "m.gguf"
    record = export_gguf(wide, path, GgufConfig(type=kind), progress=lines.append)
    assert lines[-1] == "quantising: tensor 29 of 29"  # 3 layers of 9, embedding, last norm
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["m.gguf", "m.gguf.dotresize"]
    assert record.precision.startswith(f"{kind}+")
    quantisation = record.quantisation
    assert quantisation is not None
    assert (quantisation.rounding, quantisation.calibration) == ("nearest", None)
    assert sum(quantisation.fallbacks.values()) == 3  # of each layer the matrix with rows of 96
    assert (
        quantised_bytes(plan_tensors(wide, LLAMA, "f32"), kind) < path.stat().st_size
    )  # never refuses what fits
    assert inspect_artefact(path).precision == record.precision
    checked = verify(path)
    assert {check.runtime.split()[0] for check in checked.verification} == {
        "files", "transformers", "llama-cpp-python",
    }  # fmt: skip
    failed = [check for check in checked.verification if not check.passed and check.name != "logits"]
    assert failed == []  # the limits of logits are those of a trained model


@with_llama_cpp
def test_a_calibrated_file_has_the_same_types_other_codes_and_the_same_bytes_again(
    wide: Path, tmp_path: Path
) -> None:
    plain = export_gguf(wide, tmp_path / "plain.gguf", GgufConfig(type="q4_k_m"))
    first = export_gguf(wide, tmp_path / "first.gguf", calibrated())
    again = export_gguf(wide, tmp_path / "again.gguf", calibrated())
    assert first.precision == plain.precision
    assert first.files["first.gguf"].bytes == plain.files["plain.gguf"].bytes
    assert first.files["first.gguf"] == again.files["again.gguf"] != plain.files["plain.gguf"]
    assert first.quantisation is not None
    assert first.quantisation.rounding == "calibrated"
    assert first.quantisation.calibration is not None
    assert first.quantisation.calibration.windows == 4
    assert manifest.read(record_directory(tmp_path / "first.gguf")) == first


@with_llama_cpp
def test_inputs_that_count_more_are_rounded_with_more_care(wide: Path, tmp_path: Path) -> None:
    from gguf import GGUFReader
    from gguf.quants import dequantize

    name, kept = "blk.0.ffn_gate.weight", np.arange(0, 256, 8)
    floats = tmp_path / "floats.gguf"
    export_gguf(wide, floats, GgufConfig(type="f32"))
    weights = np.full(256, 1e-3, dtype=np.float32)
    weights[kept] = 1.0
    errors = {}
    for label, importance in (("plain", None), ("weighed", {name: weights})):
        quantise(floats, tmp_path / label, "q4_k_m", importance, lambda _: None)
        before, after = (
            {t.name: dequantize(t.data, t.tensor_type) for t in GGUFReader(path).tensors}
            for path in (floats, tmp_path / label)
        )
        errors[label] = np.square(before[name] - after[name])[:, kept].mean()
    assert errors["weighed"] < 0.7 * errors["plain"]


@with_llama_cpp
def test_what_llama_cpp_refuses_is_one_error_of_ours(wide: Path, tmp_path: Path) -> None:
    floats = tmp_path / "floats.gguf"
    floats.write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(ModelError, match="llama.cpp could not make q4_k_m of it: RuntimeError: failed to qu"):
        quantise(floats, tmp_path / "m.gguf", "q4_k_m", None, lambda _: None)
    floats.unlink()
    export_gguf(wide, floats, GgufConfig(type="f32"))
    wrong = {"blk.0.ffn_gate.weight": np.ones(7, dtype=np.float32)}
    with pytest.raises(ModelError, match="imatrix size 7 is different from tensor size 256"):
        quantise(floats, tmp_path / "m.gguf", "q4_k_m", wrong, lambda _: None)


@with_llama_cpp
def test_texts_and_room_are_looked_at_before_anything_is_written(wide: Path, tmp_path: Path) -> None:
    with pytest.raises(TextError, match="ask for at most"):
        export_gguf(wide, tmp_path / "m.gguf", calibrated(calibration_windows=10**6))
    with pytest.raises(TextError, match=r"nowhere.txt"):
        export_gguf(wide, tmp_path / "m.gguf", calibrated(calibration=("nowhere.txt",)))
    assert list(tmp_path.iterdir()) == []


@with_llama_cpp
def test_an_interrupt_leaves_nothing(wide: Path, tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        if line.startswith("quantising"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_gguf(wide, tmp_path / "m.gguf", GgufConfig(type="q4_k_m"), progress=interrupt)
    assert list(tmp_path.iterdir()) == []
    assert export_gguf(wide, tmp_path / "m.gguf", GgufConfig(type="q4_k_m")).format == "gguf"


@with_llama_cpp
def test_the_command_says_what_fell_back(wide: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "dotresize",
        "export",
        "gguf",
        str(wide),
        "-o",
        "m.gguf",
        "--dtype",
        "q4_k_m",
    ]
    options = ["--calibration", TEXT, "--calibration-windows", "2", "--window-tokens", "32", "--json"]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["fallbacks"] == {"q5_0": 2, "q8_0": 1}
    assert (
        "blocks of 256 do not divide, stored by llama.cpp in larger types: 2 as q5_0, 1 as q8_0"
        in done.stderr
    )
