"""Whether a report is in a language that the lexicon covers."""

from __future__ import annotations

from functools import cache

from medfuse.errors import ReportTextError
from medfuse.text.lexicon import Lexicon
from medfuse.text.words import Words, read_data

__all__ = ["check_language"]

_LOOKED_AT = 400
"""So many words tell the language."""
_LEAST_KNOWN = 0.15
"""Share of an English report's words that the lexicon or the list of common words holds, at the very least."""
_FEW = 6
"""Fewer words than this say little by their share."""


def check_language(words: Words, lexicon: Lexicon, *, where: str) -> str:
    """Return the language of a report.

    Parameters
    ----------
    words : Words
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
    >>> from medfuse.text.words import find_words
    >>> check_language(find_words("No effusion."), load_lexicon(), where="report")
    'en'
    """
    looked_at = [word for word in words.lower[:_LOOKED_AT] if word[0].isalnum()]
    named = [word for word in looked_at if word[0].isalpha() and (len(word) > 1 or not word.isascii())]
    if not named:
        return "en" if looked_at else ""
    english, foreign = _lists()
    n_english = sum(word in english for word in named)
    n_foreign = sum(word in foreign for word in named)
    n_known = sum(word in english or word in lexicon.trie.vocabulary for word in named)
    strange = n_known < _LEAST_KNOWN * len(named) if len(named) >= _FEW else n_known == 0 and not _is_ascii(named)
    if (n_foreign and n_foreign >= n_english) or strange:
        raise ReportTextError(where, "found a language that the lexicon does not cover", expected="English")
    return "en"


def _is_ascii(words: list[str]) -> bool:
    return all(word.isascii() for word in words)


@cache
def _lists() -> tuple[frozenset[str], frozenset[str]]:
    content = read_data("languages.yaml")
    english = frozenset(content["english"])
    return english, frozenset(w for phrase in content["foreign"] for w in phrase.split() if len(w) > 1) - english
