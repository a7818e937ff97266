"""Where the sections of a report are."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from medfuse.errors import UsageError, nearest_name
from medfuse.text.words import read_data
from medfuse.types import RadiologyReport, Section

__all__ = ["BODY", "find_headings", "find_sections", "sections_of", "select_sections"]

BODY = "body"
"""Name of text that no header precedes."""

FINDINGS = "findings"
CONTINUED = ""
"""Name of a heading that divides the section it stands in, and opens none."""

# Where a heading can begin: a line, perhaps behind a mark of direction, a bullet, a number or marks of emphasis ...
# (Each repetition is bounded, so that no text takes more than linear time.)
_BLANK = r"[ \t\ufeff\u200b-\u200f\u202a-\u202e\u2066-\u2069]{0,20}"
_BULLET = r"(?:[-*#>•]{1,6}[ \t]{0,20})?"
_NUMBER = r"(?:(?:\d{1,2}|[A-Za-z])[.)][ \t]{1,9})?"
_LINE = rf"^{_BLANK}{_BULLET}{_NUMBER}[*_#]{{0,6}}"
# ... or, in reports that lost their lines, behind the end of a sentence.
_AFTER_SENTENCE = r"(?<=[.;!?)\]])[ \t]{1,20}|(?<![ \t])[ \t]{2,20}"
# How it ends: by a colon, perhaps behind a remark in brackets; or its line ends; or a dash.
_COLON = r"[ \t]{0,3}(?:\([^()\n]{0,40}\)[ \t]{0,3})?[*_]{0,3}:[*_]{0,3}"
_TITLE = r"[A-Za-z][A-Za-z0-9 \t/&,'()-]{0,70}?"
_LESION = r"(?:target[ \t]{1,3})?(?:lesion|nodule|mass)[ \t]{0,3}(?:no\.?|nr\.?|number|#)?[ \t]{0,3}\d{1,3}"
_HEADING = re.compile(
    rf"(?:{_LINE})(?:(?P<lesion>{_LESION})(?:[*_]{{0,3}}[ \t]{{0,3}}[:.-]|(?=[*_ \t\r]{{0,20}}$))"
    rf"|(?P<title>{_TITLE})(?:{_COLON}|[ \t]{{1,3}}[-–—][ \t]|(?P<alone>[*_ \t]{{0,20}}\r?$)))"
    rf"|(?:{_AFTER_SENTENCE})(?P<inline>{_TITLE}){_COLON}(?=\s|$)",
    re.IGNORECASE | re.MULTILINE,
)


# Without one of these, a colon or a long dash a text of one line has no heading, unless it is nothing else.
_DASH = re.compile(r"[ \t]-[ \t]")
_LESION_FIRST = re.compile(r"\W*(?:\w{1,2}[.)]\s+)?(?:target\s+)?(?:lesion|nodule|mass)\b", re.IGNORECASE)
_LONGEST_ALONE = 120


@dataclass(frozen=True, slots=True)
class _Titles:
    names: dict[str, str]
    key_words: dict[str, str]
    view_words: frozenset[str]
    anatomy: frozenset[str]


def find_headings(text: str) -> tuple[tuple[str, int, int], ...]:
    r"""Find every heading of a report.

    Parameters
    ----------
    text : str

    Returns
    -------
    tuple of (name, start, end)
        In order. The name of the section that it opens, empty if it only divides the one it stands in.

    Examples
    --------
    >>> find_headings("FINDINGS:\nLUNGS: Clear.")
    (('findings', 0, 9), ('', 10, 16))
    """
    return tuple(_headings(text))


def find_sections(text: str) -> tuple[Section, ...]:
    r"""Find the headed parts of a report.

    Parameters
    ----------
    text : str

    Returns
    -------
    tuple of Section
        In order; one without any non-space character is left out. Text before the first header, and all text
        if there is none, is ``"body"``. What stands under "LESION 2" and under a heading of anatomy belongs to
        the findings.

    Examples
    --------
    >>> text = "Chest CT.\nFINDINGS: A nodule.\nIMPRESSION\nNodule."
    >>> [(s.name, text[s.start : s.end]) for s in find_sections(text)]
    [('body', 'Chest CT.'), ('findings', 'A nodule.'), ('impression', 'Nodule.')]
    """
    return sections_of(text, find_headings(text))


def sections_of(text: str, headings: Sequence[tuple[str, int, int]]) -> tuple[Section, ...]:
    """Return the headed parts of a report whose headings are known; see `find_sections`."""
    sections = []
    name, start = BODY, 0
    for opened, heading_start, heading_end in headings:
        if opened != CONTINUED:
            sections.append(_trimmed(text, name, start, heading_start))
            name, start = opened, heading_end
    sections.append(_trimmed(text, name, start, len(text)))
    return tuple(section for section in sections if section.start < section.end)


def select_sections(report: str | RadiologyReport, names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    r"""Return the spans of the named sections.

    Parameters
    ----------
    report : str or RadiologyReport
    names : sequence of str
        Normalised names; empty for the whole text.

    Returns
    -------
    tuple of (int, int)
        In the order of the text. Where no named section holds a word, the whole text: an unheaded report is
        read, not lost.

    Raises
    ------
    UsageError
        If no section can have one of the names.

    Examples
    --------
    >>> select_sections("INDICATION: cough.\nFINDINGS: clear.", ["findings"])
    ((29, 35),)
    >>> select_sections("Clear lungs.", ["findings"])
    ((0, 12),)
    """
    known = set(_titles().names.values())
    for name in names:
        if name not in known:
            raise UsageError(f"section {name!r}", "found no such section", expected=nearest_name(name, known))
    text, sections = (report, None) if isinstance(report, str) else (report.text, report.sections)
    if not names:
        return ((0, len(text)),)
    found = find_sections(text) if sections is None else sections
    spans = tuple((s.start, s.end) for s in found if s.name in names)
    holds_a_word = any(character.isalnum() for start, end in spans for character in text[start:end])
    return spans if holds_a_word else ((0, len(text)),)


def _headings(text: str) -> Iterator[tuple[str, int, int]]:
    if len(text) > _LONGEST_ALONE and not _has_hint(text):
        return
    current, position = BODY, 0
    while match := _HEADING.search(text, position):
        position = match.end()
        name = FINDINGS if match["lesion"] else _name_of(match)
        if name is None:
            # The title may have swallowed the place where a later one begins.
            position = match.start("inline") if match["inline"] else match.end("title")
            continue
        if name == CONTINUED and _is_anatomy(match) and current not in (FINDINGS, "impression", "addendum"):
            name = FINDINGS
        current = name or current
        yield name, match.start(), match.end()


def _has_hint(text: str) -> bool:
    if ":" in text or "\n" in text or "–" in text or "—" in text:
        return True
    return bool(("-" in text and _DASH.search(text)) or _LESION_FIRST.match(text))


def _name_of(match: re.Match[str]) -> str | None:
    """Return the section that a candidate opens, CONTINUED for a lesser heading, None if it is no heading."""
    title = match["title"] or match["inline"]
    words = " ".join(title.split()).lower()
    starts_line = match["title"] is not None and match["alone"] is None
    if words in _titles().names and (starts_line or title[0].isupper()):
        return _titles().names[words]
    if match["inline"] or match["alone"] is not None or not match.group().rstrip("*_").endswith(":"):
        return None
    if _is_anatomy(match):
        return CONTINUED
    return _name_of_capitals(words) if title.isupper() else None


def _is_anatomy(match: re.Match[str]) -> bool:
    title = match["title"] or ""
    words = " ".join(title.split()).lower()
    first = re.split(r"[/,&(]| and ", words)[0].strip()
    return bool(title) and title[0].isupper() and (words in _titles().anatomy or first in _titles().anatomy)


@lru_cache(maxsize=4096)
def _name_of_capitals(words: str) -> str | None:
    titles = _titles()
    parts = re.findall(r"[a-z-]+", words)
    if set(parts) <= titles.view_words:
        return FINDINGS
    for part in reversed(parts):
        if len(part) >= 6 and (near := difflib.get_close_matches(part, titles.key_words, n=1, cutoff=0.8)):
            return titles.key_words[near[0]]
    return None


@cache
def _titles() -> _Titles:
    content = read_data("section_titles.yaml")
    return _Titles(
        {title: name for name, titles in content["titles"].items() for title in titles},
        {word: name for name, words in content["key_words"].items() for word in words},
        frozenset(content["view_words"]),
        frozenset(content["anatomy"]),
    )


def _trimmed(text: str, name: str, start: int, end: int) -> Section:
    body = text[start:end]
    start += len(body) - len(body.lstrip())
    return Section(name, start, max(start, start + len(body.strip())))
