"""Sizes in a report, in millimetres, and the image that each was taken on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["Measurement", "find_measurements"]

_UNIT = r"(?:mms?|cms?|millimet(?:er|re)s?|centimet(?:er|re)s?)"
_AXIS = r"\d{1,4}(?:\.\d{1,3}|,\d{1,2})?|\.\d{1,2}"
_BY = r"\s{0,3}(?:[x×*]|by)\s{0,3}"
_TO = r"\s{0,3}(?:-|–|to|and|or|/)\s{0,3}"
_SIZE = re.compile(
    rf"(?<![\w.:])(?<!\d,)(?:(?P<low>{_AXIS})[\s-]{{0,3}}(?:{_UNIT})?{_TO})?"
    rf"(?P<a>{_AXIS})[\s-]{{0,3}}(?P<au>{_UNIT})?"
    rf"(?:(?:\s?\([a-z]{{1,12}}\))?{_BY}(?P<b>{_AXIS})[\s-]{{0,3}}(?P<bu>{_UNIT})?)?"
    rf"(?:(?:\s?\([a-z]{{1,12}}\))?{_BY}(?P<c>{_AXIS})[\s-]{{0,3}}(?P<cu>{_UNIT})?)?(?<=[a-z])(?![\w/²³])"
    rf"|(?P<below>\bsub[\s-]?(?P<limit>{_AXIS})?[\s-]?(?P<limit_unit>{_UNIT})\b)",
    re.IGNORECASE,
)
# "(4:123)", "series 4 image 123", "(series #4, image #123)", "IMA: 42".
_IMAGE = re.compile(
    r"\b(?:series|se|ser)\.?\s{0,2}#?\s{0,2}(\d{1,4})[\s,;:/]{1,3}(?:images?|im|img)\.?\s{0,2}#?\s{0,2}(\d{1,4})"
    r"|(?<![\d:.])(\d{1,4})\s?:\s?(\d{1,4})(?![\d:]|\s?[ap]\.?m\b)|\b(?:IMA|images?)[\s:#]{1,3}(\d{1,4})",
    re.IGNORECASE,
)
# What stands before the size of an earlier examination, and of what is no finding.
_EARLIER = re.compile(
    r"(?:previously|prior|previous|formerly|earlier|compared (?:to|with)|versus|vs\.?|originally|initially|was)"
    r"(?:\s(?:measured|measuring|measures|approximately|about|was|a|of|to|up|at|exam(?:ination)?|study)){0,4}[\s:,(]{0,3}$",
    re.IGNORECASE,
)
_NO_FINDING = re.compile(
    r"(?:slice|section|collimation|reconstruct\w*|interval of|above|below|proximal to|distal to)\s(?:\w+\s){0,2}$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One size.

    Parameters
    ----------
    start, end : int
        Character offsets.
    size_mm : tuple of float
        One to three axes as stated; of a range the upper end; of "sub-centimetre" 10.
    kind : {"current", "earlier", "below"}
        Of this examination, of an earlier one, or an upper bound alone.
    """

    start: int
    end: int
    size_mm: tuple[float, ...]
    kind: Literal["current", "earlier", "below"] = "current"


def find_measurements(text: str, start: int, end: int) -> list[Measurement]:
    """Find the sizes stated in ``text[start:end]``.

    Parameters
    ----------
    text : str
    start, end : int

    Returns
    -------
    list of Measurement
        An axis without a unit has that of the next axis that states one.

    Examples
    --------
    >>> text = "1.2 x 0.8 cm, previously 9-mm, and 2 to 3 mm"
    >>> [(m.size_mm, m.kind) for m in find_measurements(text, 0, len(text))]
    [((12.0, 8.0), 'current'), ((9.0,), 'earlier'), ((3.0,), 'current')]
    """
    found: list[Measurement] = []
    for match in _SIZE.finditer(text, start, end):
        if match["below"]:
            limit = float(match["limit"] or 1) * (10.0 if match["limit_unit"][0] in "cC" else 1.0)
            found.append(Measurement(match.start(), match.end(), (limit,), "below"))
            continue
        before = text[max(start, match.start() - 60) : match.start()]
        if _NO_FINDING.search(before):
            continue
        kind: Literal["current", "earlier"] = "earlier" if _EARLIER.search(before) else "current"
        found.append(Measurement(match.start(), match.end(), _axes(match), kind))
    return found


def find_image(text: str, start: int, end: int) -> str:
    """Return the first "series:image" in ``text[start:end]``, empty if none is named.

    Examples
    --------
    >>> text = "nodule (series 4, image 123)"
    >>> find_image(text, 0, len(text))
    '4:123'
    """
    match = _IMAGE.search(text, start, end)
    return ":".join(number for number in match.groups() if number) if match else ""


def _axes(match: re.Match[str]) -> tuple[float, ...]:
    axes: list[float] = []
    unit = ""
    for name in "cba":
        unit = match[f"{name}u"] or unit
        if number := match[name]:
            axes.append(round(float(number.replace(",", ".")) * (10.0 if unit[0] in "cC" else 1.0), 3))
    return tuple(reversed(axes))
