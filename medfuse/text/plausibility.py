"""Whether a text can be the report of the images that it comes with."""

from __future__ import annotations

import re
from functools import cache, lru_cache

from medfuse.errors import ReportTextError
from medfuse.text.language import check_language
from medfuse.text.lexicon import load_lexicon
from medfuse.text.sections import find_headings, sections_of
from medfuse.text.words import read_data

__all__ = ["examination_of", "report_warnings"]

_EXAM = "exam"
_ASKED = frozenset({_EXAM, "technique", "indication", "comparison"})
"""Sections that are written before anybody has looked at the images."""
_OTHER_EXAM = re.compile(r"\b(?:compar|prior|previous|correlat|recommend|follow)")
_TITLE_LENGTH = 160
_TITLE_WORDS = 8
_LOOKED_AT = 20_000
"""Characters: a template or a title is known by its start."""
_PLAIN_FILM = {"CR": "XR", "DX": "XR", "RF": "XA"}
_BLANKS = re.compile(r"\[[^\[\]]{0,80}\]|<[^<>]{0,80}>|\{[^{}]{0,80}\}|_{2,}|\bn/?a\b|^[ \t]*\d{1,2}[.)]", re.I | re.M)
"""What a template leaves to be filled in."""
_INSTRUCTION = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b[^.\n]{0,40}\b(?:instructions?|prompts?|rules)\b"
    r"|<\|[a-z_]{2,20}\|>|\[/?INST\]|<<SYS>>|\byou are (?:now )?an? (?:AI|assistant|language model)\b",
    re.IGNORECASE,
)


def report_warnings(text: str, *, modality: str = "", body_part: str = "") -> tuple[str, ...]:
    """Say what speaks against taking a text for the report of a study.

    Parameters
    ----------
    text : str
    modality : str
        DICOM Modality of the images; empty if unknown.
    body_part : str
        DICOM BodyPartExamined of the images; empty if unknown.

    Returns
    -------
    tuple of str
        Sentences; empty if nothing does. None of them holds a word of the report.

    Examples
    --------
    >>> for note in report_warnings("EXAM: MRI LEFT KNEE. FINDINGS: No tear.", modality="CT", body_part="CHEST"):
    ...     print(note)
    modality mismatch: the report is of MR, its images are CT
    body part mismatch: the report is of leg, its images are of chest
    >>> report_warnings("FINDINGS: No nodule.", modality="CT")
    ()
    """
    start = text[:_LOOKED_AT]
    notes = []
    if _is_template(start):
        notes.append("template only: headings without content, an empty report that says neither normal nor finding")
    else:
        try:
            check_language(start, load_lexicon(), where="report")
        except ReportTextError:
            notes.append("report in a language that the lexicon does not cover: the model may have read nothing in it")
    if _INSTRUCTION.search(text):
        notes.append("unusual text: it reads like an instruction to a program; it is taken as words only")
    modalities, parts = examination_of(start)
    taken = _PLAIN_FILM.get(modality.strip().upper(), modality.strip().upper())
    if modalities and taken in _words()["modalities"] and taken not in modalities:
        notes.append(f"modality mismatch: the report is of {' or '.join(sorted(modalities))}, its images are {taken}")
    imaged = _named(body_part.lower(), "parts")
    if parts and imaged and parts.isdisjoint(imaged):
        named, images = (" or ".join(sorted(found)) for found in (parts, imaged))
        notes.append(f"body part mismatch: the report is of {named}, its images are of {images}")
    return tuple(notes)


def examination_of(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Read which examination a report says that it is of.

    Parameters
    ----------
    text : str

    Returns
    -------
    modalities : frozenset of str
        DICOM codes: CT, MR, XR, US, MG, NM, PT or XA.
    parts : frozenset of str
        chest, abdomen, head, neck, spine, arm, leg or breast; empty if it does not say, or says the whole body.

    Examples
    --------
    >>> [sorted(found) for found in examination_of("CT CHEST AND ABDOMEN WITH CONTRAST. FINDINGS: Clear.")]
    [['CT'], ['abdomen', 'chest']]
    """
    headings = _headings(text[:_LOOKED_AT])
    titles = [text[s.start : s.end] for s in sections_of(text[:_LOOKED_AT], headings) if s.name == _EXAM]
    if not any(title.strip() for title in titles):
        first = text[: min((start for _, start, _ in headings), default=len(text))].strip()
        title = " ".join(first.partition("\n")[0].split()[:_TITLE_WORDS])
        titles = [] if _OTHER_EXAM.search(title.lower()) else [title]
    title = " ".join(" ".join(titles)[:_TITLE_LENGTH].lower().split())
    modalities = _named(title, "modalities")
    parts = frozenset[str]() if _named(title, "whole") else _named(title, "parts")
    return (modalities, parts) if modalities else (modalities, frozenset())


def _is_template(text: str) -> bool:
    headings = _headings(text)
    if all(name in _ASKED for name, _, _ in headings):
        return False
    ends = [start for _, start, _ in headings[1:]]
    bodies = [
        text[end:after]
        for (name, _, end), after in zip(headings, [*ends, len(text)], strict=True)
        if name not in _ASKED
    ]
    rest = _BLANKS.sub(" ", "\n".join([text[: headings[0][1]], *bodies]))
    return not any(character.isalnum() for character in rest)


@lru_cache(maxsize=2)
def _headings(text: str) -> tuple[tuple[str, int, int], ...]:
    """Return the headings of a text; all that is asked of one text asks for them once."""
    return find_headings(text)


def _named(text: str, kind: str) -> frozenset[str]:
    return frozenset(name for name, pattern in _words()[kind].items() if pattern.search(text))


@cache
def _words() -> dict[str, dict[str, re.Pattern[str]]]:
    content = read_data("examinations.yaml")
    kinds = {"modalities": content["modalities"], "parts": content["parts"], "whole": {"whole": content["whole"]}}
    return {kind: {name: _any_of(words) for name, words in named.items()} for kind, named in kinds.items()}


def _any_of(words: list[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)")
