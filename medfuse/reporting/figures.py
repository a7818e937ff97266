"""Matplotlib figures without a window, and as data URIs."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FAINT", "INK", "data_uri", "new_figure"]

INK, FAINT = "#1b2733", "#8a949e"


def new_figure(width: float, height: float, *, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure that no window or global state knows, with its axes in one row.

    Parameters
    ----------
    width, height : float
        Inches.
    columns : int

    Returns
    -------
    tuple of Figure and list of Axes
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    return figure, list(axes)


def data_uri(figure: Figure, *, kind: str = "svg", dpi: int = 100) -> str:
    """Draw a figure to a data URI; the same figure gives the same bytes.

    Parameters
    ----------
    figure : Figure
    kind : {"svg", "png"}
    dpi : int
        Pixels an inch of a PNG.

    Returns
    -------
    str
        For the ``src`` of an ``img``.
    """
    import matplotlib

    stream = BytesIO()
    metadata: dict[str, str | None] = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    with matplotlib.rc_context({"svg.hashsalt": "medfuse", "svg.fonttype": "path"}):
        figure.savefig(stream, format=kind, dpi=dpi, metadata=metadata)
    mime = "image/svg+xml" if kind == "svg" else "image/png"
    return f"data:{mime};base64,{b64encode(stream.getvalue()).decode('ascii')}"
