"""Whether a report is in a language that the lexicon covers."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from functools import cache

from medfuse.errors import ReportTextError
from medfuse.text.lexicon import Lexicon
from medfuse.text.words import MASK, read_data

__all__ = ["check_language"]

_FIRST_LOOK, _LOOKED_AT = 120, 600
"""So many characters tell the language: few where they are plainly English."""
_PLAIN = 2
"""So many common English words, and none of another language, are plainly English."""
_LEAST_KNOWN = 0.15
"""Share of an English report's words that the lexicon or the list of common words holds, at the very least."""
_LEAST_ENGLISH = 0.1
"""Share of the common English words in such a report, if the lexicon holds few of its words."""
_FEW = 6
"""Fewer words than this say little by their share."""


_SIGNS = str.maketrans(dict.fromkeys(string.punctuation + string.digits, " "))
_MASKED = frozenset("x" * length for length in range(3, 10))
_MASK = re.compile(MASK, re.IGNORECASE)


def check_language(text: str, lexicon: Lexicon, *, where: str) -> str:
    """Return the language of a report.

    Parameters
    ----------
    text : str
    lexicon : Lexicon
    where : str
        What the message calls the report.

    Returns
    -------
    str
        ``"en"``, or empty if there is no word.

    Raises
    ------
    ReportTextError
        If the report is in a language that the lexicon does not cover.

    Examples
    --------
    >>> from medfuse.text.lexicon import load_lexicon
    >>> check_language("No effusion.", load_lexicon(), where="report")
    'en'
    """
    english, foreign = _lists()
    for limit in (_FIRST_LOOK, _LOOKED_AT):
        words = _words(text, limit)
        if len(english.intersection(words)) >= _PLAIN and foreign.isdisjoint(words):
            return "en"
    # A word has two letters or more, in another script one.
    named = frozenset(word for word in words if word[0].isalpha() and (len(word) > 1 or word > "z")) - _MASKED
    if not named:
        return "en" if any(character.isalnum() for character in _MASK.sub("", text)) else ""
    n_english, n_foreign = len(named & english), len(named & foreign)
    n_known = len(named & lexicon.trie.vocabulary | named & english)
    if len(named) >= _FEW:
        strange = n_known < _LEAST_KNOWN * len(named) and n_english < _LEAST_ENGLISH * len(named)
    else:
        strange = n_known == 0 and not _is_ascii(named)
    if (n_foreign and n_foreign >= n_english) or strange:
        raise ReportTextError(where, "found a language that the lexicon does not cover", expected="English")
    return "en"


def _words(text: str, limit: int) -> list[str]:
    """Return the whole words at the beginning of a text, in lower case."""
    beginning = text if len(text) <= limit else text[:limit].rpartition(" ")[0]
    return beginning.lower().translate(_SIGNS).split()


def _is_ascii(words: Iterable[str]) -> bool:
    return all(word.isascii() for word in words)


@cache
def _lists() -> tuple[frozenset[str], frozenset[str]]:
    content = read_data("languages.yaml")
    english = frozenset(word for word in content["english"] if len(word) > 1)
    return english, frozenset(w for phrase in content["foreign"] for w in phrase.split() if len(w) > 1) - english
