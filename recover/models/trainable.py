"""Which parameters move, and how a low-rank adapter becomes part of the weights again."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import MissingDependencyError, ModelError
from ..ask.config import RecoverConfig, Train

if TYPE_CHECKING:
    from torch import nn

    from ...compress.families.family import Family

__all__ = [
    "ADAPTER",
    "DEFAULT_RATES",
    "choose_trainable",
    "default_learning_rate",
    "gain_rate",
    "keep_adapter",
    "merged",
    "write_adapter",
]

# The highest learning rate of each --train where none is given. THE table: measure, then change it here.
DEFAULT_RATES: Mapping[Train, float] = {
    "all": 1e-5,
    "layers": 1e-5,
    "lora": 1e-4,
    "norms": 1e-3,
    "readers": 1e-5,
    "writers": 1e-5,
}
DEFAULT_RANK = 32
ADAPTER = "adapter"  # the folder in the output that --keep-adapter writes


def default_learning_rate(config: RecoverConfig) -> float:
    """The rate that was asked for, or the one that suits what is trained."""
    return DEFAULT_RATES[config.train] if config.learning_rate is None else config.learning_rate


def gain_rate(train: Train, rate: float) -> float:
    """Rate of gains and biases that are trained together with matrices, from the matrices' own.

    There are few of them, so a step's noise counts less, and they bear what `norms` trains them with.
    """
    if train not in ("all", "layers"):
        return rate
    return max(rate, min(DEFAULT_RATES["norms"], rate * DEFAULT_RATES["norms"] / DEFAULT_RATES[train]))


def choose_trainable(model: Any, config: RecoverConfig) -> Any:
    """Mark what is trained; with `lora`, the model is wrapped by PEFT.

    Args:
        model: the student, a transformers causal language model.
        config: `train`, `lora_rank` and `seed` are used.

    Returns:
        The model to train.

    Raises:
        MissingDependencyError: PEFT is not installed.
        ModelError: the model has no such parameters.
    """
    if config.train == "lora":
        return _with_adapter(model, config)
    for parameter in model.parameters():
        parameter.requires_grad_(config.train == "all")
    if config.train != "all":
        for parameter in _chosen(model, config.train):
            parameter.requires_grad_(True)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ModelError(f"the model has no {config.train} to train; choose another --train")
    return model


def _chosen(model: Any, train: Train) -> list[Any]:
    if train == "norms":
        return _norms(model)
    if train == "layers":
        return list(model.get_submodule(_family(model).layers).parameters())
    return _sites(model, train)


def _family(model: Any) -> "Family":
    from ...compress.families.rows import family_of

    return family_of(model.config.model_type, type(model).__name__)


def _norms(model: "nn.Module") -> list[Any]:
    """Gains of norms, and every bias (PERP, arXiv 2312.15230, section 3: the cheapest set)."""
    found = [
        parameter
        for module in model.modules()
        if type(module).__name__.endswith(("Norm", "LayerNorm"))
        for parameter in module.parameters(recurse=False)
    ]
    kept = {id(parameter) for parameter in found}
    biases = [
        parameter
        for name, parameter in model.named_parameters()
        if name.endswith(".bias") and id(parameter) not in kept
    ]
    return found + biases


def _sites(model: Any, role: str) -> list[Any]:
    """Weights of the layers' readers (all that read a norm's output), or of their writers."""
    family = _family(model)
    found = []
    for layer in model.get_submodule(family.layers).children():
        for sublayer in family.sublayers:
            for site in sublayer.readers if role == "readers" else (sublayer.writer,):
                path = ".".join(part for part in (sublayer.core, site.path) if part)
                found.append(layer.get_submodule(path).get_parameter(site.parameter))
    return found


def _with_adapter(model: Any, config: RecoverConfig) -> Any:
    import torch

    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingDependencyError(
            "--train lora needs PEFT, which is not installed; run `pip install dotresize[recover]`"
        ) from error
    rank = config.lora_rank or DEFAULT_RANK
    settings = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return get_peft_model(model, settings)


def merged(model: Any, config: RecoverConfig) -> Any:
    """The plain transformers model, with an adapter added to the weights that it changes."""
    return model.merge_and_unload() if config.train == "lora" else model


def keep_adapter(model: Any, folder: Path, *, base: str, base_sha256: str) -> None:
    """Write the adapter as PEFT and vLLM load it, with a page that says which weights it belongs to.

    Args:
        model: what `choose_trainable` gave, before `merged`.
        folder: written anew.
        base: the start, as the user named it.
        base_sha256: of the start's weights.
    """
    shutil.rmtree(folder, ignore_errors=True)
    settings = model.peft_config["default"]
    readme = (
        f"# An adapter for `{base}`\n\nOf rank {settings.r}; it belongs to the weights with SHA-256 "
        f"`{base_sha256}` and to no others, in particular not to the merged checkpoint in the folder above, "
        "which holds it already.\n\n"
        f"    vllm serve {base} --enable-lora --max-lora-rank {settings.r} "
        "--lora-modules recovered=THIS_FOLDER\n"
    )
    write_adapter(model, folder, base=base, readme=readme)


def write_adapter(model: Any, folder: Path, *, base: str, readme: str) -> None:
    """Write a model's adapter, its page, and where PEFT finds the base."""
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").write_text(readme, encoding="utf-8")
