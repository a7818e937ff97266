"""The findings of a report as numbers for a model, since embeddings hardly tell a finding from its denial."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from medfuse.text.annotation import annotate
from medfuse.text.labels import label_names, make_labels
from medfuse.text.masking import overlaps

__all__ = ["FindingFlags", "finding_flags", "flag_names"]

Span = tuple[int, int]
_BY_WEIGHT = (1, -1, 0)
"""Values of a label, the one that wins first: a finding said and denied in one report is there."""
_PRESENT = {1: 1.0, -1: 0.5, 0: 0.0}


@dataclass(frozen=True, slots=True)
class FindingFlags:
    """What a report says of each label of a scheme.

    Parameters
    ----------
    values : tuple of float
        Two a label: said to be present (1, or 0.5 if uncertain), said to be absent (1); both 0 if not mentioned.
    spans : tuple of (tuple of (int, int))
        For each value, the mentions that it comes from, in the untouched text.
    """

    values: tuple[float, ...]
    spans: tuple[tuple[Span, ...], ...]


def flag_names(scheme: str) -> tuple[str, ...]:
    """Return what each value of a scheme's flags means.

    Examples
    --------
    >>> flag_names("chest14")[:2]
    ('Atelectasis present', 'Atelectasis absent')
    """
    return tuple(f"{label} {said}" for label in label_names(scheme) for said in ("present", "absent"))


def finding_flags(
    text: str, *, scheme: str, within: Sequence[Span] | None = None, without: Sequence[Span] = ()
) -> FindingFlags:
    """Return the flags of a report.

    Parameters
    ----------
    text : str
    scheme : {"chest14", "ctrate18"}
    within : sequence of (int, int), optional
        Parts of the text that the model may read; a finding elsewhere does not count.
    without : sequence of (int, int)
        Masked parts; a finding that touches one does not count.

    Returns
    -------
    FindingFlags

    Raises
    ------
    ReportTextError
        If the text is in a language that the lexicon does not cover.

    Examples
    --------
    >>> flags = finding_flags("No pneumothorax. A nodule.", scheme="chest14")
    >>> [name for name, value in zip(flag_names("chest14"), flags.values) if value]
    ['Nodule present', 'Pneumothorax absent']
    """
    mentions: dict[tuple[str, int], list[Span]] = defaultdict(list)
    for finding in annotate(text).findings:
        span = (finding.start, finding.end)
        if overlaps(span, without) or not (within is None or any(a <= span[0] and span[1] <= b for a, b in within)):
            continue
        for label, value in make_labels([finding])[scheme].items():
            mentions[label, value].append(span)
    values: list[float] = []
    spans: list[tuple[Span, ...]] = []
    for label in label_names(scheme):
        said = next((value for value in _BY_WEIGHT if (label, value) in mentions), None)
        found = tuple(mentions[label, said]) if said is not None else ()
        values += [0.0 if said is None else _PRESENT[said], float(said == 0)]
        spans += [() if said == 0 else found, found if said == 0 else ()]
    return FindingFlags(tuple(values), tuple(spans))
