"""Dates moved by whole days: within one patient every interval stays, and the calendar is lost.

Source: DICOM PS3.15 E.3.6 (Retain Longitudinal Temporal Information with Modified Dates); PS3.5 6.2 (DA, TM, DT).
"""

from __future__ import annotations

import re
from datetime import date, timedelta

__all__ = ["is_time", "shift_date", "shift_datetime"]

DATE = re.compile(r"(\d{4})(\d{2})(\d{2})|(\d{4})\.(\d{2})\.(\d{2})", re.ASCII)
TIME = re.compile(r"([01]\d|2[0-3])(:?[0-5]\d(:?([0-5]\d|60)(\.\d{1,6})?)?)?", re.ASCII)
DATETIME = re.compile(
    r"(\d{4})(\d{2})?(\d{2})?((?:[01]\d|2[0-3])(?:[0-5]\d(?:(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?)?([+-]\d{4})?", re.ASCII
)


def shift_date(text: str, days: int) -> str:
    """Move a date (VR DA).

    Parameters
    ----------
    text : str
        YYYYMMDD, or the old YYYY.MM.DD.
    days : int

    Returns
    -------
    str
        YYYYMMDD; empty if it is no date, or would lie outside the years 1 to 9999.

    Examples
    --------
    >>> shift_date("20240301", -1), shift_date("2024.03.01", 1), shift_date("May 5", 1), shift_date("20240231", 0)
    ('20240229', '20240302', '', '')
    """
    found = DATE.fullmatch(text)
    return _shifted([int(part) for part in found.groups() if part], days) if found else ""


def shift_datetime(text: str, days: int) -> str:
    """Move a date and time (VR DT); one that is less exact than a day moves from its first day.

    Parameters
    ----------
    text : str
        YYYY[MM[DD[HH[MM[SS[.FFFFFF]]]]]][&ZZXX].
    days : int

    Returns
    -------
    str
        As exact as before; empty if it is no date and time.

    Examples
    --------
    >>> shift_datetime("20240301093000.5+0100", -1), shift_datetime("202403", -1), shift_datetime("today", -1)
    ('20240229093000.5+0100', '202402', '')
    """
    found = DATETIME.fullmatch(text)
    if not found:
        return ""
    year, month, day, time, zone = found.groups()
    moved = _shifted([int(year), int(month or 1), int(day or 1)], days)
    return moved[: 8 if day else 6 if month else 4] + (time or "") + (zone or "") if moved else ""


def is_time(text: str) -> bool:
    """Tell whether a text is a time of day (VR TM).

    Examples
    --------
    >>> is_time("093000.125"), is_time("09:30"), is_time("2500"), is_time("noon")
    (True, True, False, False)
    """
    return TIME.fullmatch(text) is not None


def _shifted(parts: list[int], days: int) -> str:
    try:
        moved = date(*parts) + timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return f"{moved.year:04d}{moved.month:02d}{moved.day:02d}"
