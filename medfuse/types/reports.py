"""Reports, as they came in and as they were read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from medfuse.errors import DataError, UsageError, nearest_name
from medfuse.types.arrays import Status

__all__ = ["Finding", "RadiologyReport", "ReportText", "Section"]


@dataclass(frozen=True, slots=True)
class ReportText:
    """A report as it came in.

    Parameters
    ----------
    text : str
        The untouched text.
    encoding : str
        The encoding that it was read with.
    status : {"preliminary", "final", "addendum", "unknown"}
        The report's own status.
    date : str
        ISO date, empty if unknown.
    source : str
        A pseudonymous name of the origin.
    warnings : tuple of str
        What the reader noticed but could read.
    """

    text: str
    encoding: str = "utf-8"
    status: Literal["preliminary", "final", "addendum", "unknown"] = "unknown"
    date: str = ""
    source: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A headed part of a report; ``text[start:end]`` is its body.

    Parameters
    ----------
    name : str
        Normalised name, for example ``"findings"``; ``"body"`` for unheaded text.
    start, end : int
        Character offsets of the body in the untouched text.
    """

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One mention of a concept in a report.

    Parameters
    ----------
    concept : str
        Name in the lexicon.
    status : {"present", "absent", "uncertain", "historical"}
        What the report says of it.
    start, end : int
        Character offsets in the untouched text.
    section : str
        Name of the section that holds it.
    size_mm : tuple of float
        One to three axes in mm, of a range the upper end; empty if no size is stated.
    experiencer : {"patient", "family"}
        Whom the report speaks of.
    certainty : float
        How surely the report says that the finding is there: 1 stated, 0.75 likely, 0.6 one of two, 0.5 possible,
        0.25 doubtful, 0 denied.
    change : {"", "new", "larger", "smaller", "stable", "resolved"}
        Since an earlier examination; empty if the report does not say.
    laterality : {"", "left", "right", "bilateral"}
    anatomy : str
        Region that the report puts it in, for example ``"lung"``; empty if it does not say.
    size_below_mm : float, optional
        Upper bound where only that is stated ("sub-centimetre").
    previous_size_mm : tuple of float
        Size that the report gives of an earlier examination.
    series_image : str
        Image that shows it, as ``"series:image"``; empty if none is named.

    Raises
    ------
    DataError
        If the offsets are not a span.
    """

    concept: str
    status: Status
    start: int
    end: int
    section: str = "body"
    size_mm: tuple[float, ...] = ()
    experiencer: Literal["patient", "family"] = "patient"
    certainty: float = 1.0
    change: str = ""
    laterality: str = ""
    anatomy: str = ""
    size_below_mm: float | None = None
    previous_size_mm: tuple[float, ...] = ()
    series_image: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise DataError(f"finding {self.concept!r}", "found offsets that are no span", expected="0 <= start < end")


@dataclass(frozen=True, slots=True)
class RadiologyReport:
    """A report after annotation.

    Parameters
    ----------
    text : str
        The untouched text that all offsets point into.
    sections : tuple of Section
    sentences : tuple of (int, int)
        Character offsets.
    findings : tuple of Finding
    language : str
        ISO 639-1 code of the language that it was read in; empty if it holds no word.
    label_sets : mapping of str to mapping of str to int
        What `labels` returns, by scheme.
    """

    text: str
    sections: tuple[Section, ...] = ()
    sentences: tuple[tuple[int, int], ...] = ()
    findings: tuple[Finding, ...] = ()
    language: str = "en"
    label_sets: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def labels(self, scheme: str) -> dict[str, int]:
        """Return the labels of a published scheme.

        Parameters
        ----------
        scheme : {"chest14", "ctrate18"}
            Labels of ChestX-ray14, or of CT-RATE.

        Returns
        -------
        dict of str to int
            1 present, 0 absent, -1 uncertain; a label that the report does not mention is not in it.

        Raises
        ------
        UsageError
            If there is no such scheme.
        """
        if scheme not in self.label_sets:
            raise UsageError(
                f"labels {scheme!r}", "found no such scheme", expected=nearest_name(scheme, self.label_sets)
            )
        return dict(self.label_sets[scheme])
