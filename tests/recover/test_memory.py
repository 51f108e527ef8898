"""What a forward pass saves, counted: each storage once, and nothing of the pass stays behind."""

import gc

import torch
from torch import Tensor

from dotresize.recover.forecast.memory import saved_bytes


def test_storages_are_counted_once_and_weights_not_at_all() -> None:
    weight, inputs = torch.nn.Parameter(torch.ones(4, 4)), torch.ones(8, 4)

    def run() -> Tensor:
        hidden = (inputs @ weight).exp()  # the product saves its inputs, exp its result
        return hidden * hidden  # which is saved twice more

    assert saved_bytes(run, [weight]) == 2 * 8 * 4 * 4
    assert saved_bytes(run, [weight, inputs]) == 8 * 4 * 4


def test_nothing_of_the_pass_stays() -> None:
    weight = torch.nn.Parameter(torch.ones(13, 13))

    def run() -> Tensor:
        return (torch.ones(7, 13) @ weight).exp().square()

    assert saved_bytes(run, [weight]) == 2 * 7 * 13 * 4  # the inputs and what exp gave
    gc.collect()
    left = [each for each in gc.get_objects() if type(each) is Tensor and each.shape == (7, 13)]
    assert left == []
