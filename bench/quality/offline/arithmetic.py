"""Sums, differences, products and rows of numbers, each with four answers to choose from."""

from collections.abc import Callable
from random import Random
from typing import Any

__all__ = ["arithmetic"]

_Problem = tuple[str, int]  # a question up to its answer, and the answer


def _sum(random: Random) -> _Problem:
    left, right = random.randrange(2, 100), random.randrange(2, 100)
    return f"{left} + {right} =", left + right


def _difference(random: Random) -> _Problem:
    right, rest = random.randrange(2, 60), random.randrange(0, 60)
    return f"{right + rest} - {right} =", rest


def _product(random: Random) -> _Problem:
    left, right = random.randrange(2, 25), random.randrange(2, 25)
    return f"{left} * {right} =", left * right


def _row(random: Random) -> _Problem:
    start, step = random.randrange(1, 40), random.randrange(2, 13)
    return ", ".join(str(start + step * place) for place in range(4)) + ",", start + 4 * step


_KINDS: dict[str, tuple[str, Callable[[Random], _Problem]]] = {  # with two worked examples
    "sum": ("12 + 7 = 19\n35 + 48 = 83\n", _sum),
    "difference": ("19 - 7 = 12\n83 - 48 = 35\n", _difference),
    "product": ("3 * 4 = 12\n11 * 6 = 66\n", _product),
    "row": ("1, 2, 3, 4, 5\n10, 20, 30, 40, 50\n", _row),
}


def arithmetic(seed: int, each: int) -> list[dict[str, Any]]:
    """`each` different problems of every kind: `{"text", "choices", "answer" (its place), "kind"}`."""
    random = Random(seed)
    found = []
    for kind, (examples, make) in _KINDS.items():
        seen: set[str] = set()
        while len(seen) < each:
            text, right = make(random)
            if text in seen:
                continue
            seen.add(text)
            answers = [right, *_wrong(random, right)]
            random.shuffle(answers)
            found.append(
                {
                    "text": examples + text,
                    "choices": [str(answer) for answer in answers],
                    "answer": answers.index(right),
                    "kind": kind,
                }
            )
    return found


def _wrong(random: Random, right: int) -> list[int]:
    """Three answers as one gets them by mistake: off by little, or by ten."""
    near = {right + by for by in (-10, -2, -1, 1, 2, 10)} - {right}
    return random.sample(sorted(answer for answer in near if answer >= 0), 3)
