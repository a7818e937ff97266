"""What speaks against an answer, by names that a worklist can be sorted by."""

from __future__ import annotations

import re
from collections.abc import Iterable

from medfuse.text import annotate

__all__ = ["LATERALITY", "LOW_QUALITY", "OTHER_EXAM", "flags_of_doubts", "laterality_doubt"]

LOW_QUALITY = "low quality"
OTHER_EXAM = "report of another examination"
LATERALITY = "laterality conflict"
_SIDES = {"R": "right", "L": "left"}
_BEGINNINGS = {"modality mismatch": OTHER_EXAM, "body part mismatch": OTHER_EXAM, LATERALITY: LATERALITY}
_IN_TITLE = re.compile(r"\b(left|right|bilateral|both)\b|\b(lt|rt)\b", re.IGNORECASE)
_ABBREVIATED = {"lt": "left", "rt": "right"}
_AFTER_TITLE = re.compile(r"\b(?:findings?|impression|conclusion|indication|history|comparison)\b", re.IGNORECASE)
_TITLE_LENGTH = 160


def flags_of_doubts(doubts: Iterable[str]) -> tuple[str, ...]:
    """Return the flags that doubts in words stand for.

    Examples
    --------
    >>> flags_of_doubts(["modality mismatch: the report is of MR, its images are CT", "report in a language ..."])
    ('report of another examination',)
    """
    found = (_BEGINNINGS.get(doubt.partition(":")[0]) for doubt in doubts)
    return tuple(dict.fromkeys(flag for flag in found if flag is not None))


def laterality_doubt(text: str, side: str) -> str:
    """Say that a report speaks of the other side than its image's header, and of that side alone.

    Parameters
    ----------
    text : str
        The report.
    side : str
        DICOM ImageLaterality or Laterality.

    Returns
    -------
    str
        Empty if it does not, or if one of both is unknown. No word of the report is in it.

    Examples
    --------
    >>> laterality_doubt("MRI LEFT KNEE. FINDINGS: No tear.", "R")
    'laterality conflict: the report is of the left, its images are of the right'
    >>> laterality_doubt("MRI BOTH KNEES. FINDINGS: Left effusion, right normal.", "R")
    ''
    """
    imaged = _SIDES.get(side.strip().upper()[:1])
    if imaged is None or not text.strip():
        return ""
    title = _AFTER_TITLE.split(text[:_TITLE_LENGTH], maxsplit=1)[0]
    told = {(found[1] or _ABBREVIATED[found[2].lower()]).lower() for found in _IN_TITLE.finditer(title)}
    findings = annotate(text).findings if not told else ()
    told |= {found.laterality for found in findings if found.status == "present" and found.experiencer == "patient"}
    told.discard("")
    if not told or imaged in told or told & {"bilateral", "both"}:
        return ""
    return f"{LATERALITY}: the report is of the {told.pop()}, its images are of the {imaged}"
