"""Weights in shards over a launcher's processes (FSDP2): the student's by Accelerate, the teacher's here."""

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import OptionError
from .config import RecoverConfig

__all__ = ["processes", "products_in_bfloat16", "shard_teacher", "sharding_arguments", "whole"]


def processes() -> int:
    """How many a launcher started, this one included."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def sharding_arguments(config: RecoverConfig) -> dict[str, Any]:
    """What transformers' TrainingArguments need to shard the student; nothing where it is not sharded.

    Raises:
        OptionError: there is only this process.
    """
    if not config.shard:
        return {}
    if processes() == 1:
        raise OptionError(
            "--shard divides a model over several processes, but this is the only one; start it with "
            "torchrun --nproc-per-node N -m dotresize recover, or leave --shard out"
        )
    settings = {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "state_dict_type": "SHARDED_STATE_DICT",
        "reshard_after_forward": True,
        "activation_checkpointing": config.activation_checkpointing,
    }
    return {"fsdp": True, "fsdp_config": settings}


def products_in_bfloat16(plugin: Any) -> None:
    """Gather weights in bfloat16; the shards that are trained and the sums of gradients stay float32."""
    from torch.distributed.fsdp import MixedPrecisionPolicy

    plugin.mixed_precision_policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16, reduce_dtype=torch.float32
    )


def shard_teacher(teacher: Any, device: torch.device) -> None:
    """Divide the teacher's layers over the processes; embedding and head stay whole in each.

    Args:
        teacher: a causal language model on the CPU, frozen.
        device: where each process computes.
    """
    from torch.distributed.fsdp import fully_shard

    layers = teacher.get_submodule(_layers_path(teacher))
    for layer in layers:
        fully_shard(layer)
    _move_the_rest(teacher, device)


def _layers_path(model: Any) -> str:
    from ..compress.family_rows import family_of

    return family_of(model.config.model_type, type(model).__name__).layers


def _move_the_rest(model: Any, device: torch.device) -> None:
    """Move what FSDP did not: it has moved its own shards already."""
    from torch.distributed.tensor import DTensor

    for module in model.modules():
        for name, value in list(module.named_parameters(recurse=False)):
            if not isinstance(value, DTensor) and value.device != device:
                moved = torch.nn.Parameter(value.to(device), requires_grad=value.requires_grad)
                setattr(module, name, moved)
        for name, value in list(module.named_buffers(recurse=False)):
            setattr(module, name, value.to(device))


def whole(value: Tensor) -> Tensor:
    """A tensor with all its shards, which all processes ask for at once; a plain one as it is."""
    gather: Callable[[], Tensor] | None = getattr(value, "full_tensor", None)
    return value if gather is None else gather()
