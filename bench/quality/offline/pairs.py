"""A sentence as it was written, and the same with one fault of grammar: BLiMP's form on other sentences.

Each fault is a rule that anybody can apply: the number of a verb, the form of a verb behind "to" or a modal,
a determiner behind its noun, "a" before a vowel and "an" before a consonant.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .passages import Passage

__all__ = ["FAULTS", "pairs"]

_NUMBER = {"is": "are", "are": "is", "was": "were", "were": "was", "has": "have", "does": "do"}
_BEFORE_BARE = {"to", "can", "could", "may", "might", "must", "shall", "should", "will", "would", "cannot"}
_BARE = {"be": "is", "have": "has", "do": "does"}
_DETERMINERS = {"the", "a", "an", "this", "these", "those", "each", "every", "its", "their"}
_UNCLEAR = ("u", "h", "o", "e", "y", "x")  # letters that begin with a vowel in one word and not in another


def _agreement(words: list[str]) -> list[str] | None:
    for place, word in enumerate(words):
        if word in _NUMBER and place:
            return [*words[:place], _NUMBER[word], *words[place + 1 :]]
    return None


def _verb_form(words: list[str]) -> list[str] | None:
    for place in range(1, len(words)):
        if words[place] in _BARE and words[place - 1] in _BEFORE_BARE:
            return [*words[:place], _BARE[words[place]], *words[place + 1 :]]
    return None


def _word_order(words: list[str]) -> list[str] | None:
    for place in range(1, len(words) - 2):
        following = words[place + 1]
        if words[place] in _DETERMINERS and following.isalpha() and following.islower():
            return [*words[:place], following, words[place], *words[place + 2 :]]
    return None


def _article(words: list[str]) -> list[str] | None:
    for place in range(1, len(words) - 1):
        following = words[place + 1]
        if words[place] in ("a", "an") and following.islower() and not following.startswith(_UNCLEAR):
            return [*words[:place], "an" if words[place] == "a" else "a", *words[place + 1 :]]
    return None


FAULTS: dict[str, Callable[[list[str]], list[str] | None]] = {
    "agreement": _agreement,
    "verb form": _verb_form,
    "word order": _word_order,
    "article": _article,
}


def pairs(found: Iterable[Passage], each: int) -> Iterator[dict[str, Any]]:
    """Pairs `{"good": ..., "bad": ..., "fault": ...}`, at most `each` of a fault, a sentence in one of them.

    A sentence goes to the fault, of those that it can have, which is rarest so far.
    """
    counts = Counter(dict.fromkeys(FAULTS, 0))
    for passage in found:
        if not passage.is_plain:
            continue
        words = passage.sentence.split(" ")
        made = {name: changed for name, rule in FAULTS.items() if (changed := rule(words)) is not None}
        open_ones = [name for name in made if counts[name] < each]
        if not open_ones:
            if min(counts.values()) >= each:
                return
            continue
        name = min(open_ones, key=lambda one: counts[one])
        counts[name] += 1
        yield {"good": passage.sentence, "bad": " ".join(made[name]), "fault": name}
