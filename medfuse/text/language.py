"""Whether a report is in a language that the lexicon covers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from medfuse.errors import ReportTextError
from medfuse.text.lexicon import Lexicon
from medfuse.text.words import MASK, read_data

__all__ = ["check_language"]

_LOOKED_AT = 600
"""So many characters tell the language."""
_LEAST_KNOWN = 0.15
"""Share of an English report's words that the lexicon or the list of common words holds, at the very least."""
_LEAST_ENGLISH = 0.1
"""Share of the common English words in such a report, if the lexicon holds few of its words."""
_FEW = 6
"""Fewer words than this say little by their share."""


# Words of two letters or more; a letter of another script is one by itself. What was masked is none.
_WORD = re.compile(r"(?!x{3,}\b)[^\W\d_]{2,}|[^\W\d_a-z]")
_SIGN = re.compile(rf"(?!{MASK})[^\W_]", re.IGNORECASE)


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
    beginning = text if len(text) <= _LOOKED_AT else text[:_LOOKED_AT].rpartition(" ")[0]
    named = frozenset(_WORD.findall(beginning.lower()))
    if not named:
        return "en" if _SIGN.search(text) else ""
    english, foreign = _lists()
    n_english, n_foreign = len(named & english), len(named & foreign)
    n_known = len(named & lexicon.trie.vocabulary | named & english)
    if len(named) >= _FEW:
        strange = n_known < _LEAST_KNOWN * len(named) and n_english < _LEAST_ENGLISH * len(named)
    else:
        strange = n_known == 0 and not _is_ascii(named)
    if (n_foreign and n_foreign >= n_english) or strange:
        raise ReportTextError(where, "found a language that the lexicon does not cover", expected="English")
    return "en"


def _is_ascii(words: Iterable[str]) -> bool:
    return all(word.isascii() for word in words)


@cache
def _lists() -> tuple[frozenset[str], frozenset[str]]:
    content = read_data("languages.yaml")
    english = frozenset(content["english"])
    return english, frozenset(w for phrase in content["foreign"] for w in phrase.split() if len(w) > 1) - english
