"""The last word of a sentence, which has been said before it: LAMBADA's form on other texts."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from .passages import Passage

__all__ = ["cloze"]

_SHORTEST = 4  # letters of a word that may be asked for
_LEAST_BEFORE = 8  # words


def cloze(found: Iterable[Passage]) -> Iterator[dict[str, Any]]:
    """Questions `{"text": ..., "word": ...}` from passages whose last word stands in them before.

    What has been said can be known from the text alone: a guess at the writer's mind is no question.
    """
    for passage in found:
        text, _, word = f"{passage.before} {passage.sentence[:-1]}".strip().rpartition(" ")
        words = re.findall(r"[a-z]+", text.lower())
        usual = word.isalpha() and word.islower() and len(word) >= _SHORTEST
        if usual and word in words[:-2] and len(words) >= _LEAST_BEFORE:
            yield {"text": text, "word": word}
