"""Words with their offsets, and a matcher for lists of phrases over them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

__all__ = ["PhraseFinder", "find_words", "read_data"]

# Hyphens divide words and are no words themselves, so that "ground-glass" and "ground glass" are one phrase.
_WORD = re.compile(r"-ve\b|\d+(?:\.\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*|[^\w\s-]")

_OTHER = "_"

Match = tuple[int, int, str]


def find_words(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return the offsets of the words and punctuation marks in ``text[start:end]``.

    Examples
    --------
    >>> text = "A 1.2-cm nodule."
    >>> [text[a:b] for a, b in find_words(text, 0, len(text))]
    ['A', '1.2', 'cm', 'nodule', '.']
    """
    return [match.span() for match in _WORD.finditer(text, start, end)]


class PhraseFinder:
    r"""Find phrases by their words; case and the white space between the words do not matter.

    Parameters
    ----------
    phrases : iterable of (str, str)
        A label and a phrase of it.

    Examples
    --------
    >>> text = "Large Pleural\n effusion"
    >>> PhraseFinder([("fluid", "effusion"), ("fluid", "pleural effusion")])(text, find_words(text, 0, len(text)))
    [(6, 23, 'fluid')]
    """

    def __init__(self, phrases: Iterable[tuple[str, str]]) -> None:
        from spacy.matcher import PhraseMatcher

        self._matcher = PhraseMatcher(_language().vocab)
        self._known: set[str] = set()
        for label, phrase in phrases:
            words = find_words(phrase, 0, len(phrase))
            self._known.update(phrase[a:b].lower() for a, b in words)
            self._matcher.add(label, [self._document(phrase, words)])

    def __call__(self, text: str, words: Sequence[tuple[int, int]]) -> list[Match]:
        """Return (start, end, label) in order without overlaps; the longest phrase wins, then the first."""
        from spacy.util import filter_spans

        if not words:
            return []
        spans = filter_spans(self._matcher(self._document(text, words), as_spans=True))
        return [(words[span.start][0], words[span.end - 1][1], span.label_) for span in spans]

    def _document(self, text: str, words: Sequence[tuple[int, int]]) -> Doc:
        # spaCy remembers each new word for good; words of no phrase are blanked, so that memory stays flat.
        from spacy.tokens import Doc

        lowered = [text[a:b].lower() for a, b in words]
        return Doc(_language().vocab, words=[word if word in self._known else _OTHER for word in lowered])


def read_data(name: str) -> Any:
    """Return the content of one of the room's own YAML files."""
    return yaml.safe_load(files("medfuse.text").joinpath(name).read_text(encoding="utf-8"))


@cache
def _language() -> Language:
    import spacy

    return spacy.blank("en")
