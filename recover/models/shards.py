"""Weights in shards over a launcher's processes (FSDP2): the student's by Accelerate, the teacher's here."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from ...compress.streams.launcher import launched_processes, runs_first, together
from ...errors import OptionError
from ..ask.config import RecoverConfig

__all__ = [
    "from_first",
    "meet",
    "products_in_bfloat16",
    "shard_teacher",
    "sharding_arguments",
    "whole",
]

_READING = timedelta(hours=2)  # that the others wait for the first process to read a large model


def meet(config: RecoverConfig) -> torch.device:
    """Let the processes find each other; the device of this one."""
    from accelerate import PartialState

    from ...compress.run import choose_device

    sharding_arguments(config)
    device: torch.device = PartialState(
        cpu=choose_device(config.device).type == "cpu", timeout=_READING
    ).device
    return device


def from_first(value: Any) -> Any:
    """What the first process gives, in all of them.

    Raises:
        EngineError: another process has ended or cannot be reached.
    """
    shared = [value]
    with together():
        torch.distributed.broadcast_object_list(shared, src=0)
    return shared[0]


def sharding_arguments(config: RecoverConfig) -> dict[str, Any]:
    """What transformers' TrainingArguments need to shard the student; nothing where it is not sharded.

    Raises:
        OptionError: there is only this process.
    """
    if not config.shard:
        return {}
    if launched_processes() == 1:
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
        "cpu_ram_efficient_loading": True,  # only the first process has the values: see `load`
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
        teacher: a causal language model on the CPU, frozen; only the first process's values are used.
        device: where each process computes.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
    from torch.distributed.fsdp import fully_shard

    values = teacher.state_dict() if runs_first() else {}
    buffers = [(module, name, value) for module in teacher.modules() for name, value in _own_buffers(module)]
    teacher.to("meta")
    teacher.tie_weights()
    for layer in teacher.get_submodule(_layers_path(teacher)):
        fully_shard(layer)
    teacher.to_empty(device=device)
    teacher.tie_weights()
    sent = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(teacher, values, options=sent)
    for module, name, value in buffers:  # they are in no state_dict
        setattr(module, name, value.to(device))
    teacher.requires_grad_(False)


def _own_buffers(module: Any) -> list[tuple[str, Tensor]]:
    return list(module.named_buffers(recurse=False))


def _layers_path(model: Any) -> str:
    from ...compress.families.rows import family_of

    return family_of(model.config.model_type, type(model).__name__).layers


def whole(value: Tensor) -> Tensor:
    """A tensor with all its shards, which all processes ask for at once; a plain one as it is."""
    gather: Callable[[], Tensor] | None = getattr(value, "full_tensor", None)
    return value if gather is None else gather()
