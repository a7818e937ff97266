"""Write a radiology report for a nodule of LIDC-IDRI from its reporting reader's scores.

Real are the scores, made is the wording. A wording is chosen by a hash of the seed, the study, the nodule and
the place in the text, never by the label or by another reader; malignancy is never read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from medfuse.cohorts.lidc_annotations import Nodule
from medfuse.cohorts.lidc_sentences import (
    BACKGROUND,
    CLOSINGS,
    COMPARISONS,
    IMPRESSIONS,
    INDICATIONS,
    NOUNS,
    OPENINGS,
    PROTOCOLS,
)
from medfuse.cohorts.lidc_wording import CLAUSES, MARGIN_PHRASES, SIZE_CLAUSES, TEXTURE_ADJECTIVES
from medfuse.errors import UsageError
from medfuse.splits import hash_fraction

__all__ = ["write_lesion_report", "write_study_report"]

_T = TypeVar("_T")

# How many clauses the sentences about the nodule hold, one after the other.
_RHYTHMS = ((3, 3, 3), (2, 3, 2, 2), (2, 2, 2, 3), (1, 3, 2, 3), (3, 2, 3, 1), (1, 2, 2, 2, 2))
_BACKGROUND_SENTENCES = (2, 3, 4)


def write_lesion_report(nodule: Nodule, *, seed: int = 0, text_size: bool = False) -> str:
    r"""Write the report of one nodule.

    Parameters
    ----------
    nodule : Nodule
        Of its reader annotations only the reporting reader's is used, and of its scores all but malignancy.
    seed : int
        Another seed gives other words for the same scores.
    text_size : bool
        Whether the diameter is stated, in whole mm.

    Returns
    -------
    str
        Sections EXAM, INDICATION, TECHNIQUE, COMPARISON, FINDINGS and IMPRESSION, parted by blank lines.

    Examples
    --------
    >>> import numpy as np
    >>> from medfuse.cohorts.lidc_annotations import SCORES, ReaderAnnotation, Scan
    >>> scan = Scan(1, "patient", "1.2", "1.2.3", 0.7, 2.5, np.arange(3.0))
    >>> reader = ReaderAnnotation(7, dict.fromkeys(SCORES, 1), ())
    >>> text = write_lesion_report(Nodule(scan, 1, reader, ()))
    >>> [line.split(":")[0] for line in text.split("\n\n")]
    ['EXAM', 'INDICATION', 'TECHNIQUE', 'COMPARISON', 'FINDINGS', 'IMPRESSION']
    """
    choose = _Chooser(seed, nodule.scan.study_instance_uid)
    sections = _header_sections(choose)
    body = [_describe_nodule(nodule, seed=seed, text_size=text_size), _describe_background(choose)]
    sections["FINDINGS"] = " ".join(body if choose.one("nodule first", (True, False)) else body[::-1])
    impression, closing = _impression(nodule, seed=seed), choose.one("closing", CLOSINGS)
    sections["IMPRESSION"] = f"1. {impression}\n2. {closing}" if closing else impression
    return _join_sections(sections)


def write_study_report(nodules: Sequence[Nodule], *, seed: int = 0, text_size: bool = False) -> str:
    """Write the report of one study with each of its nodules under its own heading.

    Parameters
    ----------
    nodules : sequence of Nodule
        Nodules of one study, at least one.
    seed : int
    text_size : bool
        Whether the diameters are stated, in whole mm.

    Returns
    -------
    str
        The sections of `write_lesion_report` up to FINDINGS with the unrelated findings; then for each nodule
        the heading ``LESION <index>`` with its own FINDINGS and IMPRESSION, in the words of its own report.

    Raises
    ------
    UsageError
        If there is no nodule, or the nodules are of more than one study.
    """
    studies = {nodule.scan.study_instance_uid for nodule in nodules}
    if len(studies) != 1:
        raise UsageError("study report", f"found nodules of {len(studies)} studies", expected="one study")
    choose = _Chooser(seed, studies.pop())
    parts = [_join_sections({**_header_sections(choose), "FINDINGS": _describe_background(choose)})]
    for nodule in nodules:
        findings = _describe_nodule(nodule, seed=seed, text_size=text_size)
        lesion = {"FINDINGS": findings, "IMPRESSION": _impression(nodule, seed=seed)}
        parts.append(f"LESION {nodule.index}\n\n{_join_sections(lesion)}")
    return "\n".join(parts)


class _Chooser:
    """Chooses by hash, for one seed and one study or nodule; every slot is chosen independently."""

    def __init__(self, *key: object) -> None:
        self._key = key

    def one(self, slot: str, options: Sequence[_T]) -> _T:
        return options[int(hash_fraction("wording", *self._key, slot) * len(options))]

    def shuffled(self, slot: str, options: Sequence[str]) -> list[str]:
        return sorted(options, key=lambda option: hash_fraction("order", *self._key, slot, option))


def _header_sections(choose: _Chooser) -> dict[str, str]:
    exams, techniques = choose.one("protocol", PROTOCOLS)
    return {
        "EXAM": choose.one("exam", exams),
        "INDICATION": choose.one("indication", INDICATIONS),
        "TECHNIQUE": choose.one("technique", techniques),
        "COMPARISON": choose.one("comparison", COMPARISONS),
    }


def _describe_background(choose: _Chooser) -> str:
    count = choose.one("background count", _BACKGROUND_SENTENCES)
    organs = choose.shuffled("background organs", list(BACKGROUND))[:count]
    return " ".join(choose.one(f"background {organ}", BACKGROUND[organ]) for organ in organs)


def _describe_nodule(nodule: Nodule, *, seed: int, text_size: bool) -> str:
    """Return an opening and one clause for each score, in sentences of one to three clauses."""
    choose = _Chooser(seed, nodule.scan.study_instance_uid, nodule.index)
    scores = nodule.reporting.scores
    clauses = {
        # A single annotation holds a level that the scheme does not have; it stays unsaid.
        score: choose.one(score, wordings[scores[score]])
        for score, wordings in CLAUSES.items()
        if scores[score] in wordings
    }
    if text_size:
        clauses["size"] = choose.one("size", SIZE_CLAUSES).replace("{mm}", f"{nodule.diameter_mm:.0f}")
    order = choose.shuffled("clause order", list(clauses))
    sentences = [choose.one("opening", OPENINGS)]
    for place, count in enumerate(choose.one("rhythm", _RHYTHMS)):
        group, order = order[:count], order[count:]
        if group:
            sentences.append(_sentence([clauses[score] for score in group], place, choose))
    return " ".join(sentences)


def _sentence(clauses: Sequence[str], place: int, choose: _Chooser) -> str:
    """Join clauses into a sentence that names the nodule once and then says "it"."""
    if choose.one(f"join {place}", (";", ",")) == ";" or any("," in clause for clause in clauses):
        text = "; ".join(clauses)
    else:
        text = ", and ".join(part for part in (", ".join(clauses[:-1]), clauses[-1]) if part)
    text = text.replace("{it}", choose.one(f"noun {place}", NOUNS), 1).replace("{it}", "it")
    return f"{text[0].upper()}{text[1:]}."


def _impression(nodule: Nodule, *, seed: int) -> str:
    """Name the nodule again, by texture, margin, both or neither."""
    choose = _Chooser(seed, nodule.scan.study_instance_uid, nodule.index)
    phrase = "pulmonary nodule"
    named = choose.one("impression descriptors", ((), ("texture",), ("margin",), ("texture", "margin")))
    scores = nodule.reporting.scores
    if "texture" in named:
        phrase = f"{choose.one('impression texture', TEXTURE_ADJECTIVES[scores['texture']])} {phrase}"
    if "margin" in named:
        phrase = f"{phrase} with {choose.one('impression margin', MARGIN_PHRASES[scores['margin']])}"
    return choose.one("impression", IMPRESSIONS).format(nodule=f"{phrase[0].upper()}{phrase[1:]}")


def _join_sections(sections: Mapping[str, str]) -> str:
    return "".join(f"{name}: {body}\n\n" for name, body in sections.items()).rstrip("\n") + "\n"
