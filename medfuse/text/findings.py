"""Concepts of the lexicon, each with what the report says of it and its size."""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache

from medfuse.text.context import assess
from medfuse.text.words import PhraseFinder, find_words, read_data
from medfuse.types import Finding, Section

__all__ = ["find_findings", "find_sizes"]

_UNIT = r"(?:mm|cm|millimet(?:er|re)s?|centimet(?:er|re)s?)"
_AXIS = r"\d{1,4}(?:\.\d{1,3}|,\d{1,2})?"
_BY = r"\s{0,3}(?:[x×*]|by)\s{0,3}"
_SIZE = re.compile(
    rf"(?<![\w.:])(?<!\d,)({_AXIS})[\s-]{{0,3}}({_UNIT})?"
    rf"(?:{_BY}({_AXIS})[\s-]{{0,3}}({_UNIT})?)?(?:{_BY}({_AXIS})[\s-]{{0,3}}({_UNIT})?)?(?<=[a-z])(?![\w])",
    re.IGNORECASE,
)
_PLURAL_ES = ("s", "x", "z", "ch", "sh")


def find_sizes(text: str, start: int, end: int) -> list[tuple[int, int, tuple[float, ...]]]:
    """Find the sizes stated in ``text[start:end]``.

    Parameters
    ----------
    text : str
    start, end : int

    Returns
    -------
    list of (start, end, size)
        One to three axes in mm. An axis without a unit has that of the next axis that states one.

    Examples
    --------
    >>> [size for _, _, size in find_sizes("1.2 x 0.8 cm, then 9-mm and 5", 0, 29)]
    [(12.0, 8.0), (9.0,)]
    """
    sizes = []
    for match in _SIZE.finditer(text, start, end):
        axes: list[float] = []
        unit = ""
        for number, own_unit in reversed(list(zip(match.groups()[::2], match.groups()[1::2], strict=True))):
            unit = own_unit or unit
            if number:
                axes.append(round(float(number.replace(",", ".")) * (10.0 if unit[0] in "cC" else 1.0), 3))
        sizes.append((match.start(), match.end(), tuple(reversed(axes))))
    return sizes


def find_findings(text: str, sections: Sequence[Section], sentences: Sequence[tuple[int, int]]) -> tuple[Finding, ...]:
    """Find the lexicon's concepts in a report.

    Parameters
    ----------
    text : str
    sections : sequence of Section
    sentences : sequence of (int, int)

    Returns
    -------
    tuple of Finding
        In order, without overlaps; the longest wording wins.

    Examples
    --------
    >>> text = "No effusion, but an 8 mm calcified nodule."
    >>> [(f.concept, f.status, f.size_mm) for f in find_findings(text, (), [(0, len(text))])]
    [('pleural_effusion', 'absent', ()), ('calcification', 'present', ()), ('nodule', 'present', (8.0,))]
    """
    starts = [section.start for section in sections]
    findings: list[Finding] = []
    for sentence in sentences:
        spans = _concepts()(text, find_words(text, *sentence))
        if not spans:
            continue
        place = bisect_right(starts, sentence[0]) - 1
        section = sections[place].name if place >= 0 else "body"
        assertions = assess(text, sentence, [(a, b) for a, b, _ in spans])
        said = list(zip(spans, assertions, strict=True))
        measurable = [(a, b) for (a, b, concept), says in said if concept in _measured() and not says.negated]
        sizes = _link(find_sizes(text, *sentence), _head_words(text, measurable))
        findings += [
            Finding(concept, says.status, a, b, section, sizes.get(a, ()), says.experiencer)
            for (a, b, concept), says in said
        ]
    return tuple(findings)


def _head_words(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Drop a span that only describes the next one: of "calcified nodule" the nodule has the size."""
    followed = {a for (a, b), (start, _) in itertools.pairwise(spans) if not text[b:start].strip(" -\t\r\n")}
    return [span for span in spans if span[0] not in followed]


def _link(
    sizes: list[tuple[int, int, tuple[float, ...]]], spans: list[tuple[int, int]]
) -> dict[int, tuple[float, ...]]:
    """Give each size to the nearest span; a span keeps the first that it is given."""
    linked: dict[int, tuple[float, ...]] = {}
    for start, end, size in sizes:
        if spans:
            nearest = min(spans, key=lambda span: max(span[0] - end, start - span[1]))
            linked.setdefault(nearest[0], size)
    return linked


def _with_plural(wording: str) -> tuple[str, str]:
    if wording.endswith("y") and wording[-2] not in "aeiou":
        return wording, f"{wording[:-1]}ies"
    return wording, wording + ("es" if wording.endswith(_PLURAL_ES) else "s")


@cache
def _concepts() -> PhraseFinder:
    concepts = read_data("lexicon.yaml")["concepts"]
    return PhraseFinder(
        (concept, form)
        for concept, wordings in concepts.items()
        for wording in wordings
        for form in _with_plural(wording)
    )


@cache
def _measured() -> frozenset[str]:
    return frozenset(read_data("lexicon.yaml")["measured"])
