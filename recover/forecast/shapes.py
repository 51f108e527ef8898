"""Memory and time of a recovery from configs alone: no weight is read, nothing is allocated.

Models are made on the meta device; what a forward pass saves is counted on fake tensors of one and of two
layers, since all layers are alike. With fake tensors transformers repeats keys and values for every query
head and makes a mask, which it does not on a CPU or GPU: what is saved comes out some percent too large.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ..ask.config import RecoverConfig
from ..losses.heads import finishing
from ..models.trainable import choose_trainable
from .memory import Memory, memory_of, saved_bytes

__all__ = ["memory_from_configs", "train_flops"]


def memory_from_configs(
    narrow: Any, dense: Any, config: RecoverConfig, *, bfloat16: bool, processes: int = 1
) -> Memory:
    """Bytes of one process at its fullest; see `memory.memory_of`, which adds the same up for real models.

    Args:
        narrow: transformers config of the start.
        dense: of the teacher.
        config: of the recovery.
        bfloat16: whether products run in it.
        processes: that share weights with `shard`.
    """
    with torch.device("meta"):
        student = choose_trainable(_model(narrow, torch.float32), config)
        teacher = _model(dense, torch.bfloat16 if bfloat16 else torch.float32)
    return memory_of(
        student,
        teacher if config.teacher_top_k is None else None,
        saved=_saved(narrow, config, bfloat16),
        product_bytes=2 if bfloat16 else 4,
        accumulates=config.batch_windows > config.micro_windows * processes,
        shards=processes if config.shard else 1,
    )


def train_flops(narrow: Any, dense: Any, config: RecoverConfig) -> float:
    """Of one token: two per weight forward, four backward, and the layers again where they are not kept."""
    with torch.device("meta"):
        student, teacher = _used(_model(narrow, torch.float32)), _used(_model(dense, torch.float32))
    return student * (8.0 if config.activation_checkpointing else 6.0) + 2.0 * teacher


def _used(model: Any) -> int:
    """Parameters that a token is multiplied with: all but the embedding, the head also where it is tied."""
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    whole = sum(each.numel() for each in model.parameters())
    return int(whole if head is embedding else whole - embedding.numel())


def _model(config: Any, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(deepcopy(config), dtype=dtype)


def _saved(narrow: Any, config: RecoverConfig, bfloat16: bool) -> int:
    one, two = (_saved_by_layers(narrow, config, bfloat16, layers) for layers in (1, 2))
    layers = int(narrow.num_hidden_layers)
    if not config.activation_checkpointing:
        return one + (layers - 1) * (two - one)
    kept = 4 * config.micro_windows * config.window_tokens * int(narrow.hidden_size)  # what goes into a layer
    return one + (layers - 1) * kept


def _saved_by_layers(narrow: Any, config: RecoverConfig, bfloat16: bool, layers: int) -> int:
    shallow = deepcopy(narrow)
    shallow.num_hidden_layers = layers
    with torch.device("meta"):
        plain = _model(shallow, torch.float32)
        student = choose_trainable(plain, config)
    mode = FakeTensorMode()
    _on_fake_cpu(student, mode)
    finishing(plain)
    student.train()
    with mode, torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        token_ids = torch.zeros(config.micro_windows, config.window_tokens, dtype=torch.int64)
        return saved_bytes(
            lambda: student(token_ids, finish=lambda hidden, _, head: hidden.float().sum()),
            [*student.parameters(), *student.buffers()],
        )


def _on_fake_cpu(model: nn.Module, mode: FakeTensorMode) -> None:
    """Give a model of the meta device parameters that say they are on the CPU, where autocast works."""
    made: dict[int, Tensor] = {}

    def fake(value: Tensor, trained: bool | None) -> Tensor:
        if id(value) not in made:  # tied ones stay tied
            with mode:
                empty = torch.empty(value.shape, dtype=value.dtype)
            made[id(value)] = empty if trained is None else nn.Parameter(empty, requires_grad=trained)
        return made[id(value)]

    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = fake(parameter, parameter.requires_grad)  # type: ignore[assignment]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = fake(buffer, None)
