"""Recipes for large models: a command, its settings, and what they are predicted to take. Unmeasured."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ...errors import OptionError
from ...foreign import reading
from ...json_files import validated
from ..ask.config import RecoverConfig
from .shapes import memory_from_configs, train_flops

__all__ = ["RECIPES", "Predicted", "Recipe", "predict", "read_recipe"]

RECIPES = ("1b", "8b", "70b")
_REACHED = 0.3  # of the hardware's floating-point rate


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where a recipe runs."""

    name: str
    processes: int  # one for each GPU
    memory_bytes: int  # of a GPU
    flops: float  # of a GPU per second, in bfloat16


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What a recipe is predicted to take."""

    memory_bytes: int  # of a GPU
    host_memory_bytes: int  # while both models are read; with `shard` the first process alone does that
    hours: float


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One file of recipes/."""

    about: str
    launch: str
    settings: dict[str, Any]  # of RecoverConfig
    dense: dict[str, Any]  # config of the original
    narrow: dict[str, Any]  # what differs in the start's
    hardware: Hardware
    predicted: Predicted

    def config(self) -> RecoverConfig:
        """The settings, checked.

        Raises:
            OptionError: they cannot be.
        """
        settings = dict(self.settings)
        return RecoverConfig(text=tuple(settings.pop("text")), **settings)


def read_recipe(name: str) -> Recipe:
    """A recipe by its name.

    Raises:
        OptionError: there is none of this name, or its file is damaged.
    """
    if name not in RECIPES:
        raise OptionError(f"there is no recipe {name!r}; choose one of {', '.join(RECIPES)}.")
    import yaml

    file = files("dotresize.recover").joinpath("recipes", f"{name}.yaml")
    with reading(f"recipes/{name}.yaml", OptionError):
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    return validated(Recipe, data, f"recipes/{name}.yaml", OptionError)


def predict(recipe: Recipe) -> Predicted:
    """Memory by the estimator of `--dry-run`, and hours from operations and an assumed share of the peak."""
    from transformers import AutoConfig

    dense = AutoConfig.for_model(**recipe.dense)
    narrow = AutoConfig.for_model(**recipe.dense | recipe.narrow)
    config, hardware = recipe.config(), recipe.hardware
    memory = memory_from_configs(narrow, dense, config, bfloat16=True, processes=hardware.processes)
    seconds = train_flops(narrow, dense, config) * (config.tokens or 0)
    seconds /= _REACHED * hardware.flops * hardware.processes
    shards = hardware.processes if config.shard else 1
    read = (memory.student + memory.teacher) * shards
    copies = 1 if config.shard else hardware.processes
    return Predicted(memory_bytes=memory.total, host_memory_bytes=read * copies, hours=seconds / 3600)
