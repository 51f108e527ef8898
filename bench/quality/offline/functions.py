"""Functions of one expression to be completed, from families of like ones; each with calls that judge it."""

from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

__all__ = ["functions"]

_CALLS = 5  # that a completion has to answer, and one more that its description shows
_WORDS = (
    *("apple", "banana", "class", "eagle", "garden", "island", "night", "ocean", "planet", "river"),
    *("stone", "taxi", "train", "window", "yellow", "sea"),
)
_LETTERS = "aeinrst"
_FEW, _FEWEST, _LENGTHS = range(2, 7), range(2, 5), range(3, 6)  # of what the arguments have more of


class _Family(NamedTuple):
    """`{n}` is one of several numbers or letters; without it the family has one member."""

    name: str
    argument: str  # x: a number; numbers, words: lists; text: a word
    says: str
    answer: str  # the expression; used to know the right results, never shown
    values: Sequence[int | str] = range(2, 12)  # of `{n}`


_SEVERAL = (
    _Family("add_{n}", "x", "Return x plus {n}.", "x + {n}"),
    _Family("subtract_{n}", "x", "Return x minus {n}.", "x - {n}"),
    _Family("multiply_by_{n}", "x", "Return x times {n}.", "x * {n}"),
    _Family("remainder_of_{n}", "x", "Return the remainder of x divided by {n}.", "x % {n}"),
    _Family("divide_by_{n}", "x", "Return x divided by {n}, rounded down.", "x // {n}"),
    _Family("is_multiple_of_{n}", "x", "Return whether x is divisible by {n}.", "x % {n} == 0"),
    _Family("is_above_{n}", "x", "Return whether x is greater than {n}.", "x > {n}"),
    _Family("is_below_{n}", "x", "Return whether x is less than {n}.", "x < {n}"),
    _Family("at_least_{n}", "x", "Return the larger one of x and {n}.", "max(x, {n})"),
    _Family("at_most_{n}", "x", "Return the smaller one of x and {n}.", "min(x, {n})"),
    _Family("distance_to_{n}", "x", "Return the absolute difference of x and {n}.", "abs(x - {n})"),
    _Family("power_of_{n}", "x", "Return {n} to the power of x.", "{n} ** x"),
    _Family("add_{n}_to_all", "numbers", "Add {n} to every number of a list.", "[x + {n} for x in numbers]"),
    _Family(
        "scale_by_{n}", "numbers", "Multiply every number of a list by {n}.", "[x * {n} for x in numbers]"
    ),
    _Family(
        "keep_above_{n}", "numbers", "Return the numbers greater than {n}.", "[x for x in numbers if x > {n}]"
    ),
    _Family(
        "keep_below_{n}", "numbers", "Return the numbers less than {n}.", "[x for x in numbers if x < {n}]"
    ),
    _Family(
        "keep_multiples_of_{n}",
        "numbers",
        "Return the numbers divisible by {n}.",
        "[x for x in numbers if x % {n} == 0]",
    ),
    _Family(
        "count_above_{n}", "numbers", "Count the numbers greater than {n}.", "sum(x > {n} for x in numbers)"
    ),
    _Family("first_{n}", "numbers", "Return the first {n} numbers of a list.", "numbers[:{n}]", _FEW),
    _Family("last_{n}", "numbers", "Return the last {n} numbers of a list.", "numbers[-{n}:]", _FEW),
    _Family("skip_{n}", "numbers", "Return a list without its first {n} numbers.", "numbers[{n}:]", _FEW),
    _Family("contains_{n}", "numbers", "Return whether {n} is in a list.", "{n} in numbers"),
    _Family("append_{n}", "numbers", "Return a list with {n} added at its end.", "numbers + [{n}]"),
    _Family("prepend_{n}", "numbers", "Return a list with {n} added at its beginning.", "[{n}] + numbers"),
    _Family("count_{n}", "numbers", "Count how often {n} is in a list.", "numbers.count({n})"),
    _Family("sum_plus_{n}", "numbers", "Return the sum of a list plus {n}.", "sum(numbers) + {n}"),
    _Family("repeat_{n}_times", "text", "Return a text repeated {n} times.", "text * {n}"),
    _Family("first_{n}_letters", "text", "Return the first {n} letters of a text.", "text[:{n}]", _FEWEST),
    _Family("last_{n}_letters", "text", "Return the last {n} letters of a text.", "text[-{n}:]", _FEWEST),
    _Family(
        "drop_{n}_letters", "text", "Return a text without its first {n} letters.", "text[{n}:]", _FEWEST
    ),
    _Family(
        "longer_than_{n}",
        "text",
        "Return whether a text has more than {n} letters.",
        "len(text) > {n}",
        _LENGTHS,
    ),
    _Family(
        "words_longer_than_{n}",
        "words",
        "Return the words with more than {n} letters.",
        "[word for word in words if len(word) > {n}]",
        _LENGTHS,
    ),
    _Family("first_{n}_words", "words", "Return the first {n} words of a list.", "words[:{n}]", _FEW),
    _Family(
        "count_letter_{n}",
        "text",
        "Count how often the letter {n} is in a text.",
        "text.count('{n}')",
        _LETTERS,
    ),
    _Family(
        "remove_letter_{n}",
        "text",
        "Return a text without the letter {n}.",
        "text.replace('{n}', '')",
        _LETTERS,
    ),
    _Family(
        "starts_with_{n}",
        "text",
        "Return whether a text starts with {n}.",
        "text.startswith('{n}')",
        _LETTERS,
    ),
    _Family(
        "ends_with_{n}", "text", "Return whether a text ends with {n}.", "text.endswith('{n}')", _LETTERS
    ),
    _Family(
        "has_letter_{n}", "text", "Return whether the letter {n} is in a text.", "'{n}' in text", _LETTERS
    ),
    _Family(
        "words_with_{n}",
        "words",
        "Return the words that hold the letter {n}.",
        "[w for w in words if '{n}' in w]",
        _LETTERS,
    ),
)
_SINGLE = (
    _Family("square", "x", "Return the square of x.", "x ** 2"),
    _Family("negate", "x", "Return x with the opposite sign.", "-x"),
    _Family("is_even", "x", "Return whether x is even.", "x % 2 == 0"),
    _Family("is_odd", "x", "Return whether x is odd.", "x % 2 == 1"),
    _Family("digits", "x", "Return how many digits x has.", "len(str(x))"),
    _Family("digit_sum", "x", "Return the sum of the digits of x.", "sum(int(d) for d in str(x))"),
    _Family("largest", "numbers", "Return the largest number of a list.", "max(numbers)"),
    _Family("smallest", "numbers", "Return the smallest number of a list.", "min(numbers)"),
    _Family("total", "numbers", "Return the sum of a list.", "sum(numbers)"),
    _Family("length", "numbers", "Return how many numbers a list has.", "len(numbers)"),
    _Family("last", "numbers", "Return the last number of a list.", "numbers[-1]"),
    _Family("backwards", "numbers", "Return a list in reverse order.", "numbers[::-1]"),
    _Family("ascending", "numbers", "Return a list sorted in ascending order.", "sorted(numbers)"),
    _Family("descending", "numbers", "Return a list sorted in descending order.", "sorted(numbers)[::-1]"),
    _Family("distinct", "numbers", "Return the distinct numbers in ascending order.", "sorted(set(numbers))"),
    _Family("squares", "numbers", "Return the squares of a list of numbers.", "[x * x for x in numbers]"),
    _Family("evens", "numbers", "Return the even numbers of a list.", "[x for x in numbers if x % 2 == 0]"),
    _Family(
        "span", "numbers", "Return the largest number minus the smallest.", "max(numbers) - min(numbers)"
    ),
    _Family("upper", "text", "Return a text in capital letters.", "text.upper()"),
    _Family("capital", "text", "Return a text with its first letter a capital.", "text.capitalize()"),
    _Family("mirror", "text", "Return a text spelled backwards.", "text[::-1]"),
    _Family("vowels", "text", "Count the vowels of a text.", "sum(c in 'aeiou' for c in text)"),
    _Family("letters", "text", "Return the letters of a text as a list.", "list(text)"),
    _Family("joined", "words", "Join words with a space between them.", "' '.join(words)"),
    _Family("lengths", "words", "Return the length of every word.", "[len(word) for word in words]"),
    _Family("longest", "words", "Return the length of the longest word.", "max(len(word) for word in words)"),
    _Family("alphabetical", "words", "Return words in alphabetical order.", "sorted(words)"),
)


def functions(seed: int) -> list[dict[str, Any]]:
    """All of them: `{"prompt", "solution", "calls": [[argument, result], ...], "family", "function"}`."""
    random = Random(seed)
    found = [_item(random, family, str(value)) for family in _SEVERAL for value in family.values]
    return found + [_item(random, family, "") for family in _SINGLE]


def _item(random: Random, family: _Family, value: str) -> dict[str, Any]:
    name, says, answer = (text.replace("{n}", value) for text in (family.name, family.says, family.answer))
    calls: list[tuple[Any, Any]] = []
    while len(calls) <= _CALLS:
        argument = _argument(random, family.argument)
        result = _result(answer, family.argument, argument)
        constant = len(calls) == _CALLS and all(other == result for _, other in calls[1:])
        if not constant and all(argument != other for other, _ in calls):
            calls.append((argument, result))  # no function that looks away gives all of them
    shown = f">>> {name}({calls[0][0]!r})\n    {calls[0][1]!r}"
    return {
        "prompt": f'def {name}({family.argument}):\n    """{says}\n\n    {shown}\n    """\n    return',
        "solution": answer,
        "calls": [list(call) for call in calls[1:]],
        "family": family.name,
        "function": name,
    }


def _argument(random: Random, kind: str) -> Any:
    if kind == "x":
        return random.randrange(1, 25)
    if kind == "text":
        return random.choice(_WORDS)
    length = random.randrange(3, 9)
    if kind == "words":
        return random.sample(_WORDS, length)
    return [random.randrange(1, 15) for _ in range(length)]


def _result(answer: str, name: str, argument: Any) -> Any:
    """What one of our own expressions above gives."""
    return eval(answer, {}, {name: argument})
