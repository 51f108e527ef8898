"""What the loss feels of each neuron, against the gradients of the whole model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from dotresize.compress.families.call_arguments import call_arguments
from dotresize.compress.layers.fisher import FISHER_TOKENS, fisher_key, neuron_fisher, windows_felt
from dotresize.compress.output.resume import WorkDirectory
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.record.progress import Silent
from dotresize.compress.record.report import Source
from dotresize.compress.run import compress
from dotresize.compress.streams.ranks import Ranks
from dotresize.compress.streams.stream import StreamRoom
from dotresize.compress.text.calibration import draw_windows
from dotresize.compress.weights.dense import DenseModel
from dotresize.compress.weights.source import load_dense, open_model

from ...families.models.configs import CONFIGS, pico_config
from ..test_run import SMALL

CPU = torch.device("cpu")
EXPERTS = ("mixtral", "qwen3_moe")


def felt(dense: Any, ids: Tensor, seed: int = 3, room: StreamRoom | None = None) -> dict[str, Tensor]:
    arguments = call_arguments(dense.skeleton, dense.family, ids.shape[1], CPU)
    with torch.no_grad():
        return neuron_fisher(
            dense, ids, arguments, CPU, Silent(), seed=seed, room=room or StreamRoom(), ranks=Ranks()
        )


def model_of(name: str) -> DenseModel:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = pico_config(name)
    model = AutoModelForCausalLM.from_config(config).eval()
    source = Source(
        name="pico",
        model_type=config.model_type,
        architecture=type(model).__name__,
        sha256="",
        kind="directory",
        dequantised_from=None,
        licence=None,
    )
    return DenseModel(model=model, tokenizer=None, generation_config=None, source=source)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in EXPERTS])
def test_every_family_has_the_whole_models_gradients(name: str) -> None:
    dense = model_of(name)
    ids = torch.randint(10, 100, (2, 12), generator=torch.Generator().manual_seed(1))
    found = felt(dense, ids)

    model, part = dense.model.requires_grad_(False), dense.family.mlp
    seen: list[Tensor] = []

    def watch(_module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        leaf = inputs[0] if inputs[0].requires_grad else inputs[0].requires_grad_()
        leaf.retain_grad()
        seen.append(leaf)
        return (leaf, *inputs[1:])

    for layer in model.get_submodule(dense.family.layers).children():
        core = layer.get_submodule(part.core) if part.core else layer
        core.get_submodule(part.writer.path).register_forward_pre_hook(watch)
    logits = model(ids, use_cache=False).logits.flatten(0, 1)
    generator = torch.Generator().manual_seed(3 * 1_000_003)
    drawn = torch.multinomial(logits.detach().softmax(-1), 1, generator=generator)[:, 0]
    torch.nn.functional.cross_entropy(logits, drawn, reduction="sum").backward()
    for index, value in enumerate(seen):
        assert value.grad is not None
        expected = (value * value.grad).square().flatten(0, -2).double().mean(0).detach()
        assert_close(found[fisher_key(index, 0)], expected, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("name", EXPERTS)
def test_experts_have_values_of_their_own(name: str) -> None:
    found = felt(model_of(name), torch.randint(10, 100, (4, 32)))
    assert len({tuple(value.tolist()) for value in found.values() if bool(value.any())}) > 2
    assert all(bool(torch.isfinite(value).all()) for value in found.values())


def test_neurons_with_the_largest_product_stay(pico_llama: Path) -> None:
    dense = load_dense(str(pico_llama))
    config = CompressConfig(
        intermediate_size=0.5,
        mlp_method="fisher",
        compensate="none",
        calibration=SMALL.calibration,
        calibration_windows=8,
        window_tokens=32,
    )
    result = compress(dense, config)
    energies: list[Tensor] = []
    hooks = [
        layer.mlp.down_proj.register_forward_pre_hook(
            lambda module, inputs: energies.append(
                inputs[0].square().flatten(0, 1).sum(0) * module.weight.square().sum(0)
            )
        )
        for layer in dense.model.model.layers
    ]
    ids = draw_windows(
        SMALL.calibration, dense.tokenizer, windows=8, window_tokens=32, seed=config.seed
    ).token_ids
    with torch.no_grad():
        dense.model(ids)
    for hook in hooks:
        hook.remove()
    found = felt(dense, ids, config.seed)
    for index, layer in enumerate(result.model.model.layers):
        score = (energies[index].double() * found[fisher_key(index, 0)]).detach()
        kept = score.topk(len(layer.mlp.gate_proj.weight)).indices.sort().values
        original = dense.model.model.layers[index]
        gain = original.post_attention_layernorm.weight  # is folded into what reads it
        assert_close(layer.mlp.up_proj.weight, original.mlp.up_proj.weight[kept] * gain)


def test_files_and_memory_give_the_same(pico_llama: Path) -> None:
    ids = torch.randint(10, 100, (3, 16), generator=torch.Generator().manual_seed(1))
    streamed, loaded = felt(open_model(str(pico_llama)).stream(), ids), felt(load_dense(str(pico_llama)), ids)
    assert all(torch.equal(streamed[name], loaded[name]) for name in loaded)


def test_streams_may_lie_in_files_and_in_half_the_bits(pico_llama: Path, tmp_path: Path) -> None:
    dense = load_dense(str(pico_llama))
    ids = torch.randint(10, 100, (8, 64), generator=torch.Generator().manual_seed(1))
    found = felt(dense, ids)
    mapped = felt(dense, ids, room=StreamRoom(directory=tmp_path, memory_bytes=0))
    assert all(torch.equal(mapped[name], found[name]) for name in found)
    halves = felt(dense, ids, room=StreamRoom(dtype=torch.bfloat16))
    for name, value in found.items():  # other tokens may be drawn, too
        assert float(torch.corrcoef(torch.stack([value, halves[name]]).log())[0, 1]) > 0.9


def test_a_resumed_run_does_not_look_again(
    pico_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CompressConfig(
        intermediate_size=0.5,
        mlp_method="fisher",
        calibration=SMALL.calibration,
        calibration_windows=4,
        window_tokens=32,
    )
    dense = load_dense(str(pico_llama))
    with WorkDirectory(tmp_path / "work") as work:
        first = compress(dense, config, work=work)
        monkeypatch.setattr("dotresize.compress.first_look.neuron_fisher", None)
        again = compress(dense, config, work=work)
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])


def test_few_windows_are_looked_at() -> None:
    assert windows_felt(4, 512) == 4
    assert windows_felt(400, 512) == FISHER_TOKENS // 512
    assert windows_felt(3, 10**6) == 1
