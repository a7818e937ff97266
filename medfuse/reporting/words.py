"""Numbers as a page shows them."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["inputs_name", "number", "signed"]


def number(value: float, digits: int = 3) -> str:
    """Return a figure with a true minus sign.

    Parameters
    ----------
    value : float
    digits : int
        After the point.

    Returns
    -------
    str

    Examples
    --------
    >>> number(0.9126), number(-0.02, 2), number(-0.0001)
    ('0.913', '−0.02', '0.000')
    """
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def signed(value: float, digits: int = 3) -> str:
    """Return a figure with its sign, also where it is positive.

    Parameters
    ----------
    value : float
    digits : int
        After the point.

    Returns
    -------
    str

    Examples
    --------
    >>> signed(0.05), signed(-0.05), signed(0.0)
    ('+0.050', '−0.050', '0.000')
    """
    text = number(value, digits)
    return f"+{text}" if float(text.replace("−", "-")) > 0 else text


def inputs_name(modalities: Sequence[str]) -> str:
    """Return what a model read, as a reader knows it.

    Parameters
    ----------
    modalities : sequence of str
        At least one.

    Returns
    -------
    str

    Examples
    --------
    >>> inputs_name(["image", "text", "table"]), inputs_name(["image", "text"]), inputs_name(["text"])
    ('Image, report and table', 'Image and report', 'Report')
    """
    names = ["report" if name == "text" else name for name in modalities]
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return listed[:1].upper() + listed[1:]
