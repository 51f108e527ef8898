"""Whole compressions of pico models: identity at full width, fits that help, resuming, refusals."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import dotresize
from dotresize.compress.output.resume import WorkDirectory
from dotresize.compress.record.config import CompressConfig, Method
from dotresize.compress.record.effort import Effort
from dotresize.compress.record.progress import Silent
from dotresize.compress.record.report import Report
from dotresize.compress.run import CompressResult, compress
from dotresize.compress.text.calibration import draw_windows
from dotresize.compress.weights.source import DenseModel, load_dense
from dotresize.errors import OptionError

from ..text import TEXT

EFFORTS: tuple[Effort, ...] = ("standard", "quick")
TOKENS = torch.arange(2, 66)[None]
SMALL = CompressConfig(
    width=0.75,
    mlp_width=0.75,
    calibration=TEXT,
    calibration_windows=6,
    window_tokens=64,
)


@pytest.fixture
def dense(pico_checkpoint: Path) -> DenseModel:
    return load_dense(str(pico_checkpoint))


@torch.no_grad()
def logits_of(model: torch.nn.Module, tokens: torch.Tensor = TOKENS) -> torch.Tensor:
    return model(tokens).logits


@pytest.mark.parametrize("method", ["dot", "magnitude", "pca", "pca+dot"])
@pytest.mark.parametrize("compensate", ["none", "full"])
def test_full_width_reproduces_the_dense_logits(dense: DenseModel, method: Method, compensate: str) -> None:
    config = replace(
        SMALL,
        width=1.0,
        mlp_width=1.0,
        method=method,
        mlp_method="dot",
        reg=0.01 if method == "dot" else 0.0,
        compensate=compensate,  # type: ignore[arg-type]
        calibration_windows=2,
    )
    narrow = compress(dense, config)
    # float32 through three layers: differences of 1e-5 on logits of size 1 are rounding
    assert_close(logits_of(narrow.model), logits_of(dense.model), atol=2e-4, rtol=1e-3)


def test_biases_are_folded_too(pico_llama: Path) -> None:
    """Full width and the same function; then narrow, where every bias must have its new width."""
    dense = load_dense(str(pico_llama))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = copy.deepcopy(dense.model.config)
        config.attention_bias = config.mlp_bias = True
        model = type(dense.model)(config).eval()
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.1)
    dense = replace(dense, model=model)
    full = compress(dense, replace(SMALL, width=1.0, mlp_width=1.0, method="pca", calibration_windows=2))
    assert_close(logits_of(full.model), logits_of(model), atol=2e-4, rtol=1e-3)
    narrow = compress(dense, SMALL)
    assert narrow.model.get_parameter("model.layers.0.mlp.down_proj.bias").shape == (48,)
    assert narrow.model.get_parameter("model.layers.0.mlp.up_proj.bias").shape == (72,)
    assert narrow.model.get_parameter("model.layers.0.self_attn.q_proj.bias").shape == (128,)


def test_the_result_is_a_stock_model_of_the_new_widths(dense: DenseModel) -> None:
    result = compress(dense, SMALL)
    assert type(result.model) is type(dense.model)
    assert result.model.config.hidden_size == 48
    assert result.model.config.intermediate_size == 72
    assert result.model.config.head_dim == 32
    assert result.model.config.tie_word_embeddings is False
    counted = sum(parameter.numel() for parameter in result.model.parameters())
    assert result.report.narrow_counts.total_parameters == counted
    assert torch.isfinite(logits_of(result.model)).all()


def test_mlp_only_keeps_embedding_head_and_tie(dense: DenseModel) -> None:
    result = compress(dense, replace(SMALL, width=None))
    before, after = dense.model.state_dict(), result.model.state_dict()
    assert result.model.config.tie_word_embeddings == dense.model.config.tie_word_embeddings
    for name in ("model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"):
        assert_close(after[name], before[name], atol=0, rtol=0)
    tied = result.model.get_input_embeddings().weight is result.model.get_output_embeddings().weight
    assert tied == dense.model.config.tie_word_embeddings


def test_no_fit_raises_its_error(dense: DenseModel) -> None:
    fits = compress(dense, SMALL).report.fits
    assert len(fits) == 3 * 5 + 1
    for fit in fits:
        assert 0 <= fit.error_after <= fit.error_before


def test_the_neuron_fit_moves_gate_and_up_and_can_be_left_out(dense: DenseModel) -> None:
    fitted, plain = compress(dense, SMALL), compress(dense, replace(SMALL, neuron_steps=0))
    steps = [fit for fit in fitted.report.fits if fit.site == "mlp.gate_up"]
    assert len(steps) == 3
    assert steps[0].error_after < steps[0].error_before
    assert len(plain.report.fits) == 3 * 4 + 1
    name = "model.layers.0.mlp.gate_proj.weight"
    assert not torch.equal(fitted.model.get_parameter(name), plain.model.get_parameter(name))


def test_a_prior_that_counts_for_everything_leaves_the_unfitted_model(dense: DenseModel) -> None:
    """However long the calibration is: the share does not fall with it."""
    fixed = compress(dense, replace(SMALL, neuron_steps=0, ridge_share=1e12)).model
    unfitted = compress(dense, replace(SMALL, compensate="none")).model
    assert_close(logits_of(fixed), logits_of(unfitted), atol=1e-4, rtol=1e-4)


def test_a_quick_fit_is_nearly_the_plain_one(dense: DenseModel) -> None:
    """Without steps both solve the same regressions; bfloat16 inputs of products keep three digits."""
    plain, quick = (compress(dense, replace(SMALL, effort=effort, neuron_steps=0)) for effort in EFFORTS)
    for one, other in zip(plain.report.fits, quick.report.fits, strict=True):
        assert other.error_after == pytest.approx(one.error_after, rel=0.1, abs=1e-3)
    assert torch.get_float32_matmul_precision() == "highest"


def test_thorough_trains_every_sublayer_on_windows_of_its_own(dense: DenseModel) -> None:
    fits = compress(dense, replace(SMALL, effort="thorough", calibration_windows=30)).report.fits
    held = [fit for fit in fits if fit.site.endswith(".held")]
    assert [fit.site for fit in held] == 3 * ["self_attn.held", "mlp.held"]
    assert all(fit.error_after <= fit.error_before for fit in held)
    assert any(fit.error_after < fit.error_before for fit in held)
    assert len([fit for fit in fits if fit.site == "mlp.gate_up"]) == 2 * 3


@pytest.mark.parametrize("effort", [*EFFORTS, "thorough"])
def test_streams_of_half_the_bits_give_nearly_the_same_model(dense: DenseModel, effort: Effort) -> None:
    config = replace(SMALL, effort=effort, calibration_windows=12)
    exact, rounded = (
        compress(dense, replace(config, stream_dtype=dtype)) for dtype in ("float32", "bfloat16")
    )
    assert rounded.report.config["stream_dtype"] == "bfloat16"
    wanted, found = logits_of(exact.model), logits_of(rounded.model)
    change, original = wanted - logits_of(dense.model), wanted.norm()
    assert 0 < (found - wanted).norm() < 0.1 * original
    assert (found - wanted).norm() < 0.5 * change.norm(), "less than what narrowing changes"


def test_compensation_brings_the_logits_closer(dense: DenseModel) -> None:
    """On held-out tokens, with enough calibration tokens for 64 columns (1920 of them)."""
    held_out = draw_windows(SMALL.calibration, dense.tokenizer, windows=None, window_tokens=64, seed=0)
    reference = logits_of(dense.model, held_out.token_ids[-8:]).log_softmax(-1)

    def divergence(compensate: str) -> float:
        config = replace(SMALL, compensate=compensate, calibration_windows=30)  # type: ignore[arg-type]
        narrow = compress(dense, config).model
        other = logits_of(narrow, held_out.token_ids[-8:]).log_softmax(-1)
        return float((reference.exp() * (reference - other)).sum(-1).mean())

    unfitted = divergence("none")
    assert divergence("readout") < unfitted
    assert divergence("full") < unfitted


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_fits_see_the_weights_as_they_are_stored(dense: DenseModel, dtype: str) -> None:
    result = compress(dense, replace(SMALL, dtype=dtype))
    assert {parameter.dtype for parameter in result.model.parameters()} == {getattr(torch, dtype)}
    assert result.report.narrow_counts.weight_bytes == 2 * result.report.narrow_counts.total_parameters


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(pico_llama: Path) -> None:
    first, again = (compress(str(pico_llama), SMALL) for _ in range(2))
    other = compress(str(pico_llama), replace(SMALL, seed=7))
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name
    assert first.report == again.report
    assert first.report.calibration.sha256 != other.report.calibration.sha256


class Interrupt(Silent):
    """A progress that raises KeyboardInterrupt after some advances, as Ctrl-C would."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, units: int = 1) -> None:
        self.left -= units
        if self.left < 0:
            raise KeyboardInterrupt


def interrupted(model: Path, work: Path, config: CompressConfig = SMALL, after: int = 18 + 6 * 12) -> None:
    """Leave a work directory with the basis and the first layers of a run."""
    with pytest.raises(KeyboardInterrupt), WorkDirectory(work) as kept:
        compress(str(model), config, work=kept, progress=Interrupt(after))


def test_an_interrupted_run_resumes_to_the_same_bytes(pico_llama: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    whole = compress(str(pico_llama), SMALL)
    interrupted(pico_llama, work)
    kept = {file.name for file in work.glob("*.safetensors")}
    assert {"basis.safetensors", "layer-00000.safetensors"} <= kept
    assert "layer-00002.safetensors" not in kept
    with WorkDirectory(work) as kept_work:
        resumed = compress(str(pico_llama), SMALL, work=kept_work)
        assert work.exists(), "what was computed stays until the result is safe"
        kept_work.discard()
    assert not work.exists()
    assert resumed.report == whole.report
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name


def test_an_interrupted_thorough_run_resumes_to_the_same_bytes(pico_llama: Path, tmp_path: Path) -> None:
    work, config = tmp_path / "work", replace(SMALL, effort="thorough", width=None)
    whole = compress(str(pico_llama), config)
    interrupted(pico_llama, work, config, after=6 * 40)
    assert list(work.glob("layer-*.safetensors"))
    with WorkDirectory(work) as kept:
        resumed = compress(str(pico_llama), config, work=kept)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name


def test_another_configuration_does_not_resume_from_it(pico_llama: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    interrupted(pico_llama, work)
    other = replace(SMALL, seed=7)
    with WorkDirectory(work) as kept_work:
        resumed = compress(str(pico_llama), other, work=kept_work)
    assert resumed.report == compress(str(pico_llama), other).report


def test_report_goes_to_json_and_back(pico_llama: Path) -> None:
    report = compress(str(pico_llama), SMALL).report
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_package_is_callable(pico_llama: Path) -> None:
    result = dotresize.compress(pico_llama, replace(SMALL, width=None, mlp_width=0.5))  # a path, or its name
    assert isinstance(result, CompressResult)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_a_gpu_is_refused(pico_llama: Path) -> None:
    with pytest.raises(OptionError, match="torch sees no CUDA device"):
        compress(str(pico_llama), replace(SMALL, device="cuda"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_cuda_gives_the_cpus_model(pico_llama: Path) -> None:
    cpu = compress(str(pico_llama), replace(SMALL, device="cpu"))
    cuda = compress(str(pico_llama), replace(SMALL, device="cuda"))
    assert cuda.cost.peak_device_memory_bytes
    # another summation order in float32; the sums of the fits are float64
    assert_close(logits_of(cuda.model), logits_of(cpu.model), atol=1e-2, rtol=1e-2)
