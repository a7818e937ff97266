"""What a user asks a DICOMweb service for: KEYWORD=VALUE, each keyword one of DICOM."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from medfuse.errors import UsageError

__all__ = ["parse_query"]

WHERE = "--query"
DATES = re.compile(r"\d{8}|\d{8}-(\d{8})?|-\d{8}")


def parse_query(terms: Sequence[str]) -> dict[str, str]:
    """Read the terms of a query.

    Parameters
    ----------
    terms : sequence of str
        ``KEYWORD=VALUE``; of a date also a range.

    Returns
    -------
    dict of str to str

    Raises
    ------
    UsageError
        If a keyword is not one of DICOM, stands there twice, or has no value or no date where one belongs: a service
        may leave out what it does not understand, and would then give every study. No value is shown.

    Notes
    -----
    Source: DICOM PS3.18 8.3.4 (query parameters), PS3.5 6.2 (DA) and PS3.4 C.2.2.2.5 (ranges).

    Examples
    --------
    >>> parse_query(["StudyDate=20240101-20240131", "ModalitiesInStudy=CT"])
    {'StudyDate': '20240101-20240131', 'ModalitiesInStudy': 'CT'}
    """
    from pydicom.datadict import dictionary_VR, keyword_dict

    found: dict[str, str] = {}
    for number, term in enumerate(terms, start=1):
        keyword, _, value = term.partition("=")
        if not value:
            raise UsageError(WHERE, f"found no KEYWORD=VALUE in number {number}", expected="as in StudyDate=20240131")
        if keyword not in keyword_dict:
            close = difflib.get_close_matches(keyword, [*keyword_dict], n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise UsageError(WHERE, f"no such keyword {keyword!r}", expected=f"a keyword of DICOM{hint}")
        if keyword in found:
            raise UsageError(WHERE, f"found {keyword} for the second time", expected="each keyword once")
        if dictionary_VR(keyword) == "DA" and not DATES.fullmatch(value):
            raise UsageError(WHERE, f"found no date for {keyword}", expected="YYYYMMDD, or YYYYMMDD-YYYYMMDD")
        found[keyword] = value
    return found
