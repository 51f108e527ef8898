"""Heads and depth as axes: what stays is what was chosen, in the config, the report and the loaded model."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dotresize.compress.families.rows import FAMILIES
from dotresize.compress.output.resume import WorkDirectory
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.compress.weights.source import load_dense
from dotresize.errors import ModelError, OptionError, WidthError
from dotresize.export.artefact_info import inspect_artefact
from dotresize.export.checkpoint.write import save
from dotresize.serve.engine.model_facts import read_facts

from ..compress.test_run import Interrupt
from ..text import TEXT
from .conftest import SaveFamily, logits_of, strictly_loaded
from .test_narrowing import BASE


def fitted(**changes: object) -> CompressConfig:
    axes = {"width": None, "mlp_width": None, "compensate": "full", "calibration_windows": 8}
    return replace(BASE, **axes | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES)
def test_depth_and_heads_narrow_in_every_family_that_has_them(
    family: str, save_family: SaveFamily, tmp_path: Path
) -> None:
    directory = save_family(family)
    row = FAMILIES[family]
    config = fitted(layers=2, mlp_width=0.75)
    if not any(limit.axis == "kv_groups" for limit in row.limits) and not row.ties_head_dim(
        load_dense(str(directory)).model.config
    ):
        config = replace(config, kv_groups=1)
    result = compress(str(directory), config)
    assert result.report.kept_layers is not None
    assert len(result.report.kept_layers) == 2
    save(result, tmp_path / "narrow")
    reloaded = strictly_loaded(tmp_path / "narrow", torch.float32)
    torch.testing.assert_close(logits_of(reloaded), logits_of(result.model), atol=1e-5, rtol=1e-5)
    assert reloaded.config.num_hidden_layers == 2
    for key in FAMILIES[reloaded.config.model_type].per_layer_keys:
        assert len(getattr(reloaded.config, key)) == 2
    provenance = " ".join(inspect_artefact(tmp_path / "narrow").provenance)
    assert "3 to 2 layers" in provenance
    assert "layers | 3 | 2" in (tmp_path / "narrow" / "README.md").read_text()
    if config.kv_groups:
        assert reloaded.config.num_key_value_heads == 1
        assert "2 to 1 key-value groups" in provenance


def test_a_layer_that_does_nothing_goes_and_nobody_notices(pico_llama: Path) -> None:
    """Its writers are zero: the dense stream passes it unchanged, so the narrow model is the dense one."""
    dense = load_dense(str(pico_llama))
    idle = dense.model.model.layers[1]
    idle.self_attn.o_proj.weight.data.zero_()
    idle.mlp.down_proj.weight.data.zero_()
    for compensate in ("none", "full"):
        result = compress(dense, fitted(layers=2, compensate=compensate, neuron_steps=None))
        assert result.report.kept_layers == (0, 2)
        found, wanted = logits_of(result.model), logits_of(dense.model)
        # float32; with the fits also a ridge towards an exact prior, and a step that is not taken
        torch.testing.assert_close(found, wanted, atol=2e-3, rtol=1e-3)


def test_groups_that_add_nothing_go_and_nobody_notices(pico_llama: Path) -> None:
    dense = load_dense(str(pico_llama))
    for layer in dense.model.model.layers:
        layer.self_attn.o_proj.weight.data[:, :64].zero_()  # the first group: two heads of 32
    result = compress(dense, fitted(kv_groups=0.5, compensate="none"))
    layer = dense.model.model.layers[0]
    folded = layer.self_attn.k_proj.weight[32:] * layer.input_layernorm.weight
    assert torch.equal(result.model.model.layers[0].self_attn.k_proj.weight, folded)
    torch.testing.assert_close(logits_of(result.model), logits_of(dense.model), atol=1e-4, rtol=1e-4)


def test_all_axes_in_one_run(pico_llama: Path) -> None:
    result = compress(
        str(pico_llama),
        CompressConfig(
            width=0.75,
            mlp_width=0.75,
            kv_groups=1,
            layers=0.67,
            calibration=TEXT,
            calibration_windows=8,
            window_tokens=64,
        ),  # fmt: skip
    )
    narrow = result.report.narrow
    assert (narrow.hidden_size, narrow.intermediate_size) == (48, 72)
    assert (narrow.num_key_value_heads, narrow.num_attention_heads, narrow.num_hidden_layers) == (1, 2, 2)
    assert any("layers 0.67 of 3 = 2.0 was rounded to 2" in note for note in result.report.notes)
    assert torch.isfinite(logits_of(result.model)).all()


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("olmo2", {"kv_groups": 1}, "OLMo 2 normalises the queries of all heads together.*narrow its MLP"),
        ("olmo2", {"width": 0.75}, "no rotation passes; narrow its hidden size with --method magnitude"),
        ("gemma3_text", {"width": 0.75, "method": "pca"}, "no rotation passes"),
        ("gpt2", {"hidden_size": 96}, r"4 heads of 32 need hidden_size 128, not 96.*narrow the MLP"),
        ("opt", {"kv_groups": 3}, r"3 heads of 32 need hidden_size 96, not 128; give --hidden-size 96"),
        ("llama", {"kv_groups": 3}, "kv-groups 3 cannot be used: the model has 2"),
        ("llama", {"layers": 0}, "layers 0 cannot be used: it must be positive"),
    ],
)
def test_an_axis_that_cannot_be_is_refused_with_what_can(
    family: str, changes: dict[str, object], message: str, save_family: SaveFamily
) -> None:
    with pytest.raises(WidthError, match=message):
        compress(str(save_family(family)), fitted(**changes))


def test_fractions_and_configs_that_cannot_be_are_refused(save_family: SaveFamily) -> None:
    with pytest.raises(OptionError, match="layers is 1.5; give a whole number, or a fraction"):
        CompressConfig(layers=1.5)
    dense = load_dense(str(save_family("qwen2")))
    dense.model.config.use_sliding_window = True
    with pytest.raises(ModelError, match="use_sliding_window True: its layers have sliding windows"):
        compress(dense, fitted(layers=2))


def test_what_serves_and_measures_reads_a_gpt2_too(save_family: SaveFamily, tmp_path: Path) -> None:
    """Its config calls every width by another name."""
    save(compress(str(save_family("gpt2")), fitted(mlp_width=0.75)), tmp_path / "narrow")
    facts = read_facts(tmp_path / "narrow")
    assert (facts.hidden_size, facts.intermediate_size, facts.num_hidden_layers) == (128, 72, 3)
    assert (facts.num_attention_heads, facts.head_dim, facts.max_position_embeddings) == (4, 32, 256)


def test_a_run_that_drops_layers_resumes_with_the_same_ones(pico_llama: Path, tmp_path: Path) -> None:
    config = fitted(layers=2, width=0.75)
    whole = compress(str(pico_llama), config)
    with pytest.raises(KeyboardInterrupt), WorkDirectory(tmp_path / "work") as work:
        # the survey of three layers, then more than one narrow layer of 2 x 3 passes and a step
        compress(str(pico_llama), config, work=work, progress=Interrupt(after=8 * (3 + 9 + 3)))
    assert {path.name for path in (tmp_path / "work").glob("*.safetensors")} >= {"basis.safetensors"}
    with WorkDirectory(tmp_path / "work") as work:
        resumed = compress(str(pico_llama), config, work=work)
        work.discard()
    assert resumed.report == whole.report
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
