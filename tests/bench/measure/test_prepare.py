"""What the user names becomes what the engine loads."""

from pathlib import Path

import pytest

from dotresize.bench.measure.baseline import named
from dotresize.bench.measure.prepare import prepare, settle, unique_names
from dotresize.bench.record.settings import BenchSettings
from dotresize.compress.record.progress import Silent
from dotresize.errors import InputError, ModelError, OptionError
from dotresize.export.for_vllm.processor import has_int4_kernel, processor_flags


def test_names_are_as_short_as_they_can_be() -> None:
    assert unique_names(["demo:smollm2-135m", "out/mlp-0.75/"]) == ["demo:smollm2-135m", "mlp-0.75"]
    assert unique_names(["a/model", "b/model"]) == ["a/model", "b/model"]
    assert unique_names(["a/model", "a/model"]) == ["a/model (1)", "a/model (2)"]


def test_auto_is_settled_as_serve_would() -> None:
    settled = settle(BenchSettings(engine="transformers"))
    assert settled.device in ("cpu", "cuda")
    assert settled.dtype in ("float32", "bfloat16")
    assert settle(settled) == settled
    vllm = settle(BenchSettings(engine="vllm", device="cpu"))
    assert vllm.engine_flags == ("--enforce-eager",)
    compiled = BenchSettings(engine="vllm", device="cpu", engine_flags=("--no-enforce-eager",))
    assert settle(compiled).engine_flags == ("--no-enforce-eager",)
    assert settle(BenchSettings(engine="onnx", precision="int4", device="cpu")).dtype == "float32"


def test_an_onnx_export_is_no_checkpoint(pico_onnx: Path, pico_llama: Path, tmp_path: Path) -> None:
    settings = settle(BenchSettings(engine="transformers", device="cpu"))
    with pytest.raises(ModelError, match="is an ONNX export, which the transformers engine does not load"):
        prepare([str(pico_llama), str(pico_onnx)], settings, tmp_path, Silent())


def test_checkpoints_are_exported_once_for_onnx(
    pico_llama_untied: Path, pico_llama: Path, tmp_path: Path
) -> None:
    settings = settle(BenchSettings(engine="onnx", device="cpu"))
    sources = [str(pico_llama), str(pico_llama_untied)]
    models = prepare(sources, settings, tmp_path, Silent())
    assert [model.format for model in models] == ["onnx", "onnx"]
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.onnx")}
    assert len(made) == 2
    assert prepare(sources, settings, tmp_path, Silent()) == models
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.onnx")} == made


def test_a_missing_model_is_named(pico_llama: Path, tmp_path: Path) -> None:
    settings = settle(BenchSettings(engine="transformers", device="cpu"))
    with pytest.raises(ModelError, match="no/such/model is neither a local path nor a hub id"):
        prepare([str(pico_llama), "no/such/model"], settings, tmp_path, Silent())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": 0}, "--rounds is 0, expected 1 to"),
        ({"output_tokens": 1}, "--output-tokens is 1, expected 2 to"),
        ({"batch_sizes": ()}, r"--batch-sizes is \(\), expected different whole numbers"),
        ({"batch_sizes": (1, 1)}, "expected different whole numbers"),
        ({"concurrency": (100_000,)}, "--concurrency names 100000, expected 1 to"),
        ({"scenarios": ("speed",)}, "unknown scenario speed; expected some of latency"),
        ({"scenarios": ("online",)}, "the transformers engine cannot run the scenario online"),
        ({"engine_flags": ("--max-num-seqs=2",)}, "cannot take effect with the transformers engine"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        BenchSettings(engine="transformers", **changes)  # type: ignore[arg-type]


def test_one_model_is_no_comparison(pico_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name the original and at least one narrow model"):
        prepare([str(pico_llama)], settle(BenchSettings(engine="transformers")), tmp_path, Silent())


def test_a_baseline_is_a_model_and_a_precision(tmp_path: Path) -> None:
    assert named("demo:smollm2-135m@w8a8") == ("demo:smollm2-135m", "w8a8")
    assert named("a/b@int4") == ("a/b", "int4")
    assert named("me@home/model") == ("me@home/model", None)
    (tmp_path / "m@w8a8").mkdir()
    assert named(f"{tmp_path}/m@w8a8") == (f"{tmp_path}/m@w8a8", None)


@pytest.mark.parametrize(
    ("precision", "settings", "message"),
    [
        (
            "w8a8",
            BenchSettings(engine="transformers"),
            "the transformers engine runs models as they are stored",
        ),
        ("w8a8", BenchSettings(engine="onnx"), "the onnx engine has fp32, fp16, bf16, int8, int4"),
        ("int4", BenchSettings(engine="vllm"), "the vllm engine has fp8, w8a8, w8a16, w4a16"),
        ("w8a16", BenchSettings(engine="vllm", device="cpu"), "no kernel for w8a16 on a CPU"),
        ("w8a8", BenchSettings(engine="vllm", device="cpu", dtype="float32"), "give --dtype bfloat16"),
    ],
)
def test_a_baseline_that_cannot_run_is_refused_before_a_model_is_read(
    precision: str, settings: BenchSettings, message: str, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=message):
        prepare(["no/model", f"no/model@{precision}"], settle(settings), tmp_path / "work", Silent())
    assert list(tmp_path.iterdir()) == []


def test_a_baseline_is_quantised_once_and_its_quality_can_be_measured(
    pico_llama: Path, tmp_path: Path
) -> None:
    import torch

    from dotresize.bench.quality.scorers import open_scorer

    pytest.importorskip("compressed_tensors")
    settings = settle(BenchSettings(engine="vllm", device="cpu", dtype="bfloat16"))
    precision = "w4a16" if has_int4_kernel(processor_flags()) else "w8a8"
    sources = [str(pico_llama), f"{pico_llama}@{precision}"]
    with pytest.raises(InputError, match="a model is named twice"):
        prepare([*sources, sources[1]], settings, tmp_path, Silent())
    original, baseline = prepare(sources, settings, tmp_path, Silent())
    assert (baseline.name, baseline.format, baseline.precision) == (
        f"llama-tied@{precision}",
        "vllm",
        precision,
    )
    assert baseline.weight_bytes < 0.6 * original.weight_bytes
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert prepare(sources, settings, tmp_path, Silent()) == [original, baseline]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == made
    window = torch.arange(5, 69)
    wide, few = (
        open_scorer(Path(model.path), model.format, device=torch.device("cpu"), dtype="float32")(window)
        for model in (original, baseline)
    )
    assert 0.0 < float((wide.exp() * (wide - few)).sum(-1).mean()) < 1.0
