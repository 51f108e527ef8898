"""How much memory a process of a recovery takes at its fullest: counted from shapes, not measured.

At its fullest a step has, at once: both models, Adam's two moments, everything that the forward pass saved
for the backward pass, the head's work on one chunk, and the gradients of earlier micro-batches. Where there
are none, gradients come as what was saved goes, and the larger of both counts. What is saved is counted by
torch itself, in a forward pass of real or of fake tensors.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ..losses.chunks import CHUNK, block_elements

__all__ = ["Memory", "memory_of", "saved_bytes"]

_MOMENTS = 2  # Adam's, float32
_BLOCK_COPIES = 4  # float32 intermediates of `forward_kl_and_gradient`


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one process."""

    student: int
    teacher: int
    gradients: int  # beside all that is saved
    moments: int
    saved: int  # for the backward pass
    head: int  # its work on one chunk
    gathered: int  # layers that are whole for a moment where weights are in shards
    process: int  # everything else: code and libraries

    @property
    def total(self) -> int:
        """The sum: at its fullest, all of it is there at once."""
        parts = (self.student, self.teacher, self.gradients, self.moments)
        return sum(parts) + self.saved + self.head + self.gathered + self.process


def saved_bytes(run: Callable[[], Any], besides: Iterable[Tensor]) -> int:
    """What a forward pass saves for the backward pass, each storage once.

    Args:
        run: the pass.
        besides: tensors that are counted elsewhere: weights and buffers.
    """
    seen = {_place(tensor) for tensor in besides}
    found: dict[int, int] = {}
    alive = []  # a storage that is freed and another that takes its place must not be one

    def pack(tensor: Tensor) -> Tensor:
        detached = (
            tensor.detach()
        )  # itself, it would hold the graph that holds it, out of a collector's sight
        if _place(tensor) not in seen:
            found[_place(tensor)] = tensor.untyped_storage().nbytes()
            alive.append(detached)
        return detached

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = run()
    del kept
    return sum(found.values())


def memory_of(
    student: Any,
    teacher: Any,
    *,
    saved: int,
    product_bytes: int,
    accumulates: bool,
    shards: int = 1,
    process: int = 0,
    chunk: int = CHUNK,
) -> Memory:
    """Bytes of one process at its fullest.

    Args:
        student: the model to train, as `choose_trainable` gave it; only shapes and dtypes are looked at.
        teacher: in memory, or None.
        saved: of `saved_bytes` for one micro-batch.
        product_bytes: of an element of a matrix product: 2 for bfloat16.
        accumulates: whether a step has several micro-batches.
        shards: processes that share weights, gradients and moments (FSDP); 1 for none.
        process: bytes that the process takes besides.
        chunk: positions that the head works on.
    """
    parameters = list(student.parameters())
    trained = sum(each.numel() for each in parameters if each.requires_grad)
    head = student.get_output_embeddings().weight
    device = head.device.type
    work = 2 * chunk * head.shape[0] * product_bytes + _BLOCK_COPIES * 4 * block_elements(device)
    if head.requires_grad:  # the sum of its gradient, and what a chunk adds, in both dtypes
        work += head.numel() * (4 + 4 + product_bytes)
    gradients = 4 * trained // shards
    layers = max(1, int(student.config.num_hidden_layers))
    whole = _bytes(parameters) // layers if shards > 1 else 0
    return Memory(
        student=_bytes(parameters) // shards,
        teacher=0 if teacher is None else _bytes(teacher.parameters()) // shards,
        gradients=gradients if accumulates else max(0, gradients - saved),
        moments=_MOMENTS * 4 * trained // shards,
        saved=saved,
        head=work,
        gathered=2 * whole + (head.numel() * 4 if shards > 1 else 0),
        process=process,
    )


def _place(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
