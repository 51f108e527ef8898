"""A model is loaded with exactly its tensors, or not at all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dotresize.compress.weights.strict_load import load_strictly
from dotresize.errors import ModelError

Change = Callable[[dict[str, Tensor]], object]
UP = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def damaged(tmp_path: Path) -> Callable[[Path, Change], Path]:
    def damage(source: Path, change: Change) -> Path:
        directory = tmp_path / "copy"
        shutil.copytree(source, directory)
        tensors = load_file(directory / "model.safetensors")
        change(tensors)
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
        return directory

    return damage


def test_a_whole_model_loads_with_its_own_values(pico_checkpoint: Path) -> None:
    model = load_strictly(pico_checkpoint, dtype="auto")
    stored = load_file(pico_checkpoint / "model.safetensors")[UP]
    torch.testing.assert_close(model.get_parameter(UP), stored, rtol=0, atol=0)  # the same bytes
    assert not model.training


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop(UP), f"lacks {UP}, which would be filled with random numbers"),
        (
            lambda tensors: tensors.update({"model.layers.1.mlp.upward.weight": tensors.pop(UP)}),
            rf"lacks {UP}.*and it holds model\.layers\.1\.mlp\.upward\.weight",
        ),
        (lambda tensors: tensors.clear(), r"lacks .* and \d+ more"),
        (
            lambda tensors: tensors.update({UP: torch.zeros(3, 64)}),
            rf"holds {UP} as \[3, 64\] instead of \[96, 64\]",
        ),
    ],
    ids=["missing", "renamed", "empty", "another shape"],
)
@pytest.mark.parametrize("kind", ["pico_llama", "pico_mistral"])
def test_another_set_of_tensors_is_refused_by_name(
    kind: str,
    request: pytest.FixtureRequest,
    damaged: Callable[[Path, Change], Path],
    change: Change,
    message: str,
) -> None:
    directory = damaged(request.getfixturevalue(kind), change)
    with pytest.raises(ModelError, match=message):
        load_strictly(directory, what="my model", dtype="auto")


@pytest.mark.parametrize(("layers", "message"), [(2, "no place for"), (7, "random numbers")])
def test_a_config_with_another_number_of_layers_is_refused(
    tmp_path: Path, pico_llama: Path, layers: int, message: str
) -> None:
    directory = tmp_path / "copy"
    shutil.copytree(pico_llama, directory)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"num_hidden_layers": layers}))
    with pytest.raises(ModelError, match=message):
        load_strictly(directory, dtype="auto")


def test_a_head_that_is_not_tied_must_be_stored(
    pico_llama_untied: Path, damaged: Callable[[Path, Change], Path]
) -> None:
    directory = damaged(pico_llama_untied, lambda tensors: tensors.pop("lm_head.weight"))
    with pytest.raises(ModelError, match=r"lacks lm_head\.weight"):
        load_strictly(directory, dtype="auto")
