"""Where a report says a label's own words, so that a model can be asked without them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from medfuse.text.annotation import annotate
from medfuse.text.lexicon import concept_wordings
from medfuse.text.words import PhraseTrie, find_words, with_plural

__all__ = ["overlaps", "term_spans"]


def term_spans(text: str, terms: Sequence[str]) -> list[tuple[int, int]]:
    """Find every mention of terms and of their synonyms.

    Parameters
    ----------
    text : str
    terms : sequence of str
        Each a concept of the lexicon, which stands for all its wordings and for every finding of it, or else a word or
        phrase, whatever its letter case, hyphens and regular plural.

    Returns
    -------
    list of (int, int)
        Spans of the untouched text, sorted; they may overlap.

    Raises
    ------
    ReportTextError
        If a term is a concept and the text is in a language that the lexicon does not cover: what it cannot read it
        cannot mask.

    Examples
    --------
    >>> text = "Suspicious nodules, likely malignant."
    >>> [text[a:b] for a, b in term_spans(text, ["nodule", "suspicious"])]
    ['Suspicious', 'nodules']
    """
    words = find_words(text)
    matches = _trie(tuple(terms))(words, 0, len(words.lower)).get("term", [])
    spans = {(words.starts[match.first], words.ends[match.last - 1]) for match in matches}
    concepts = {term for term in terms if concept_wordings(term)}
    if concepts and words.lower:
        # A finding can be said without its wordings: "the heart is enlarged" is cardiomegaly.
        spans |= {(f.start, f.end) for f in annotate(text).findings if f.concept in concepts}
    return sorted(spans)


def overlaps(span: tuple[int, int], others: Sequence[tuple[int, int]]) -> bool:
    """Tell whether a span shares a character with any of the others.

    Examples
    --------
    >>> overlaps((0, 3), [(2, 5)]), overlaps((0, 3), [(3, 5)])
    (True, False)
    """
    return any(start < span[1] and span[0] < end for start, end in others)


@cache
def _trie(terms: tuple[str, ...]) -> PhraseTrie[None]:
    wordings = [word for term in terms for word in (concept_wordings(term) or (term,))]
    return PhraseTrie(("term", form, None) for word in wordings for form in with_plural(word))
