"""How much work a compression puts into its fits, as named amounts.

`quick` computes with the reduced precision that the hardware is fastest at and leaves out what takes long,
`standard` is the default, and `thorough` trains every sublayer after its closed forms.
"""

from typing import Literal, NamedTuple

__all__ = ["EFFORTS", "Amount", "Effort"]

Effort = Literal["quick", "standard", "thorough"]


class Amount(NamedTuple):
    """What an effort stands for.

    Attributes:
        neuron_steps: Gauss-Newton steps on each MLP's gate and up rows, where none were asked for by number.
        fast: matrix products, those of the fits' sums included, take float32 inputs in the reduced precision
            of the hardware; sums over batches stay float64.
        epochs: of local training, per sublayer, at most.
        held_every: one window in so many is kept from every fit; training stops when its error there rises.
    """

    neuron_steps: int
    fast: bool
    epochs: int
    held_every: int | None


EFFORTS: dict[Effort, Amount] = {
    "quick": Amount(neuron_steps=0, fast=True, epochs=0, held_every=None),
    "standard": Amount(neuron_steps=1, fast=False, epochs=0, held_every=None),
    "thorough": Amount(neuron_steps=2, fast=False, epochs=8, held_every=16),
}
