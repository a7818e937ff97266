"""The rules of `medfuse.text.deidentification`: where a text names a person, a place, a date or a number of a person.

What they look for is in data/identity.yaml; how a name is built is here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from medfuse.text.lexicon import load_lexicon
from medfuse.text.words import read_data

__all__ = ["find_identity"]

Span = tuple[int, int, str]

_CAPITAL = r"[A-ZÀ-ÖØ-Þ]"
_WORD = rf"(?:(?:O|D|L|Mc|Mac)['’]?)?{_CAPITAL}[\w’'-]{{1,30}}"
_INITIAL = rf"{_CAPITAL}\.?(?!\w)"
_PARTICLES = r"(?:(?:van|von|de|der|den|del|della|di|da|dos|la|le|al|el|bin|ibn|ter)[ \t]){0,2}"
_NAME = rf"(?:{_WORD}|{_INITIAL})(?:[ \t]{{1,2}}{_PARTICLES}(?:{_WORD}|{_INITIAL})){{0,3}}"
_LOWER = r"[a-z][a-z'’-]{1,30}"
_VALUE = (
    rf"{_CAPITAL}[\w’'-]{{0,30}}(?:\^[\w’'-]{{0,30}}){{1,4}}"  # DOE^JANE, as DICOM and HL7 write it
    rf"|{_WORD},[ \t]{{0,2}}{_NAME}|{_NAME}"
    rf"|{_LOWER}(?:,[ ]?|[ ]){_LOWER}(?=[ \t]{{0,9}}(?:$|[\n,;.(]))"  # jane doe, where nothing else follows
)
_NO_NAME = r"(?!(?:the|this|an?|no|none|is|was|see|stable|unknown|n/?a|x{3,}|drs?|mrs?|ms|prof)\b)"
_DEGREES = r"(?:M\.?D\.?|D\.?O\.?|MBBS|FRCR|FRCPC?|FACR|Ph\.?D\.?|R\.?N\.?|RT\(R\))(?!\w)"
_PIECE_OF_NAME = re.compile(r"[\w’'^.-]+")


@dataclass(frozen=True, slots=True)
class _Rules:
    forms: tuple[tuple[str, re.Pattern[str]], ...]
    names: tuple[re.Pattern[str], ...]
    not_names: frozenset[str]
    articles: frozenset[str]


def find_identity(text: str) -> list[Span]:
    """Return (start, end, kind) of what looks like identity, in order, none overlapping.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of (int, int, str)

    Examples
    --------
    >>> find_identity("Seen by Dr. Miller on 2021-05-03.")
    [(12, 18, 'NAME'), (22, 32, 'DATE')]
    """
    rules = _rules()
    names = list(_names(text, rules))
    spans = [*_forms(text, rules), *names, *_again(text, names)]
    chosen: list[Span] = []
    for start, end, kind in sorted(spans, key=lambda span: (span[0], -span[1])):
        if not chosen or start >= chosen[-1][1]:
            chosen.append((start, end, kind))
        elif end > chosen[-1][1]:
            chosen[-1] = (chosen[-1][0], end, chosen[-1][2])
    return chosen


def _forms(text: str, rules: _Rules) -> Iterator[Span]:
    for kind, pattern in rules.forms:
        group = "value" if "value" in pattern.groupindex else 0
        for match in pattern.finditer(text):
            start, end = match.span(group)
            if kind == "INSTITUTION" and not group:
                start = _without_articles(text, start, end, rules.articles)
                if " " not in text[start:end]:  # "Hospital" alone names none
                    continue
            yield start, start + len(text[start:end].rstrip(" \t\r.,")), kind


def _without_articles(text: str, start: int, end: int, articles: frozenset[str]) -> int:
    """Return where a name begins behind words that are none."""
    while (blank := text.find(" ", start, end)) > 0 and text[start:blank].lower() in articles:
        start = blank + 1
    return start


def _names(text: str, rules: _Rules) -> Iterator[Span]:
    for pattern in rules.names:
        for match in pattern.finditer(text):
            start, end = match.span("name")
            end = _name_end(text, start, end, rules.not_names)
            if start < end:
                yield start, end, "NAME"


def _name_end(text: str, start: int, end: int, not_names: frozenset[str]) -> int:
    """Return where a name ends: before a word that is none, or that a colon makes a heading."""
    for word in _PIECE_OF_NAME.finditer(text, start, end):
        is_heading = start < word.start() and word.end() == end and text[end : end + 1] == ":"
        if is_heading or word.group().lower().rstrip(".") in not_names:
            end = word.start()
            break
    return start + len(text[start:end].rstrip(" \t,"))


def _again(text: str, names: list[Span]) -> Iterator[Span]:
    """Yield further places of a name that was found once, unless it is a word of the field or of everyday."""
    parts = {part for start, end, _ in names for part in re.findall(r"[\w’'-]{4,}", text[start:end])}
    known = load_lexicon().trie.vocabulary
    words = set(re.findall(r"(?<![\w.@-])[\w’'-]{4,}(?![\w@])", text)) if parts else set()
    telling = {p for p in parts if p[0].isupper() and p.lower() not in known and p.lower() not in words}
    if telling:
        shapes = {re.escape(shape) for part in telling for shape in (part, part.title(), part.upper())}
        for match in re.finditer(rf"(?<!\w)(?:{'|'.join(sorted(shapes))})(?!\w)", text):
            yield *match.span(), "NAME"


@cache
def _rules() -> _Rules:
    content = read_data("identity.yaml")
    pieces = content["pieces"]

    def compiled(pattern: str, *, any_case: bool = False) -> re.Pattern[str]:
        for name, piece in pieces.items():
            pattern = pattern.replace(f"{{{name}}}", piece)
        return re.compile(pattern, re.VERBOSE | re.MULTILINE | re.I * any_case)

    labels, acts = content["labels"], content["acts"]
    by = rf"(?:{acts})(?:[ \t]electronically|[ \t]and[ \t][a-z]{{2,12}})?[ \t]by"
    names = (
        rf"\b(?:(?:{content['titles']})\.?|MR\.|MS\.)[ \t]{{1,3}}(?i:{_NO_NAME})(?P<name>{_NAME}|(?<=\.[ ]){_LOWER}\b)",
        rf"\b(?i:{labels}|{by})[ \t]{{0,3}}[:=][ \t]{{0,9}}(?i:{_NO_NAME})(?P<name>{_VALUE})",
        rf"\b(?i:{by})[ \t](?i:{_NO_NAME})(?P<name>{_NAME})",
        rf"(?P<name>{_NAME}),?[ \t]{{1,2}}{_DEGREES}",
    )
    return _Rules(
        tuple((r["kind"], compiled(r["pattern"], any_case=r.get("case") == "any")) for r in content["rules"]),
        tuple(compiled(pattern) for pattern in names),
        frozenset(content["not_names"]),
        frozenset(content["articles"]),
    )
