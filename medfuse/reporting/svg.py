"""Plots as inline SVG: real text, a title and a description, the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import ArrayLike

from medfuse.types import Array

__all__ = ["Bars", "Frame", "Line", "Points", "Stroke", "mark", "plot", "strip", "strokes_of", "swatch"]

INK, SOFT, FAINT, PALE = "#1b2733", "#52606d", "#8a949e", "#e3e8ec"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360.0, 340.0, 52.0, 18.0, 10.0, 48.0
STRIP_WIDTH, STRIP_HEIGHT, STRIP_PAD = 240.0, 24.0, 8.0

_SHAPES = {
    "circle": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
    "square": "M-4 -4h8v8h-8z",
    "triangle": "M0 -5.2L5 3.8H-5z",
    "diamond": "M0 -5.6L5 0L0 5.6L-5 0z",
    "down": "M0 5.2L5 -3.8H-5z",
    "cross": "M-1.6 -5h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z",
}


class Stroke(NamedTuple):
    """Colour, dash and marker of one series: no reading rests on colour alone.

    Source: Okabe and Ito 2008, Color Universal Design; the dashes and markers are ours.
    """

    colour: str
    dash: str
    shape: str
    width: float = 2.0


_OF_CONDITION = {
    "fused": Stroke("#00785a", "", "circle", 2.6),
    "model": Stroke("#00785a", "", "circle", 2.6),
    "image": Stroke("#0072b2", "7 3", "square"),
    "text": Stroke("#c04e00", "7 2 1.5 2", "triangle"),
    "table": Stroke("#8c6d00", "2 2", "down"),
}
_OTHERS = (
    Stroke("#5b6770", "1.5 2.5", "diamond", 1.6),
    Stroke("#a0528b", "6 2 1.5 2 1.5 2", "down", 1.6),
    Stroke("#8c6d00", "1.5 4", "cross", 1.6),
    Stroke("#333333", "10 4", "square", 1.6),
)


@dataclass(frozen=True, slots=True)
class Frame:
    """The axes of a plot.

    Parameters
    ----------
    name : str
        Unique on its page: the ids of title and description begin with it.
    title, description : str
        What a reader who does not see the plot is told.
    x_label, y_label : str
    x_range, y_range : tuple of float
    percent : bool
        Whether the x axis is shown in per cent.
    """

    name: str
    title: str
    description: str
    x_label: str
    y_label: str
    x_range: tuple[float, float] = (0.0, 1.0)
    y_range: tuple[float, float] = (0.0, 1.0)
    percent: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A curve; of many points those that would fall on one pixel are drawn once."""

    x: Array
    y: Array
    stroke: Stroke


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Markers, each with an interval where ``low`` and ``high`` are given."""

    x: Sequence[float]
    y: Sequence[float]
    stroke: Stroke
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """A thin histogram along the foot of a plot: how many cases lie where; ``height`` in [0, 1]."""

    x: Sequence[float]
    height: Sequence[float]


def strokes_of(names: Sequence[str]) -> dict[str, Stroke]:
    """Return a stroke for each name; one that is no modality takes the next of the others.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    dict of str to Stroke

    Examples
    --------
    >>> strokes_of(["image", "diameter"])["diameter"].shape
    'diamond'
    """
    others = cycle(_OTHERS)
    return {name: _OF_CONDITION[name] if name in _OF_CONDITION else next(others) for name in names}


def plot(frame: Frame, layers: Sequence[Line | Points | Bars]) -> Markup:
    """Draw a plot.

    Parameters
    ----------
    frame : Frame
    layers : sequence of Line, Points or Bars
        Drawn in this order.

    Returns
    -------
    Markup
        An ``svg`` element.
    """
    body = [*_axes(frame)]
    for layer in layers:
        body += _drawn(layer, frame)
    return Markup(  # noqa: S704  # every text in it is escaped below
        f'<svg class="plot" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" '
        f'aria-labelledby="{frame.name}-t {frame.name}-d" font-family="sans-serif" font-size="11.5">'
        f'<title id="{frame.name}-t">{escape(frame.title)}</title>'
        f'<desc id="{frame.name}-d">{escape(frame.description)}</desc>{"".join(body)}</svg>'
    )


def strip(interval: tuple[float, float, float], span: tuple[float, float], stroke: Stroke, *, zero: float) -> Markup:
    """Draw one row of a forest plot.

    Parameters
    ----------
    interval : tuple of float
        Low, value, high.
    span : tuple of float
        Ends of the axis; what lies beyond is cut and ends in an arrow.
    stroke : Stroke
    zero : float
        Where no effect lies: 0.5 of an area, 0 of a difference.

    Returns
    -------
    Markup
        An ``svg`` element that is hidden from a reader of text: the numbers stand beside it.
    """
    low, value, high = (_along(x, span) for x in interval)
    middle = STRIP_HEIGHT / 2
    ends = ""
    for x, at, way in ((interval[0], low, -1), (interval[2], high, 1)):
        if not span[0] <= x <= span[1]:
            ends += f'<path d="M{at:.1f} {middle - 4:g}l{5 * way} 4l{-5 * way} 4z" fill="{stroke.colour}"/>'
    return Markup(  # noqa: S704  # numbers and our own colours alone
        f'<svg class="strip" viewBox="0 0 {STRIP_WIDTH:g} {STRIP_HEIGHT:g}" aria-hidden="true" focusable="false">'
        f"{_upright(zero, span)}"
        f'<path d="M{low:.1f} {middle:g}H{high:.1f}" stroke="{stroke.colour}" stroke-width="2.4" fill="none"/>{ends}'
        f"{_marker(value, middle, stroke)}</svg>"
    )


def mark(span: tuple[float, float], ticks: Sequence[float], *, zero: float, digits: int = 2) -> Markup:
    """Draw the axis below the rows of a forest plot.

    Parameters
    ----------
    span : tuple of float
    ticks : sequence of float
    zero : float
    digits : int

    Returns
    -------
    Markup
    """
    body = [f'<path d="M{STRIP_PAD:g} 4H{STRIP_WIDTH - STRIP_PAD:g}" stroke="{FAINT}" fill="none"/>']
    for tick in ticks:
        x, shown = _along(tick, span), f"{tick:.{digits}f}".replace("-", "−")
        body.append(f'<path d="M{x:.1f} 4v4" stroke="{FAINT}" fill="none"/>')
        body.append(f'<text x="{x:.1f}" y="19" text-anchor="middle" fill="{SOFT}">{shown}</text>')
    return Markup(  # noqa: S704  # numbers alone
        f'<svg class="strip" viewBox="0 0 {STRIP_WIDTH:g} {STRIP_HEIGHT:g}" aria-hidden="true" focusable="false" '
        f'font-family="sans-serif" font-size="10.5">{_upright(zero, span, 8)}{"".join(body)}</svg>'
    )


def swatch(stroke: Stroke) -> Markup:
    """Draw a short piece of a series, for a legend."""
    line = f'<path d="M1 7H33" {_line_of(stroke)}/>'
    return Markup(  # noqa: S704  # our own colours alone
        f'<svg class="swatch" viewBox="0 0 34 14" width="34" height="14" aria-hidden="true" focusable="false">{line}'
        f"{_marker(17, 7, stroke)}</svg>"
    )


def _axes(frame: Frame) -> list[str]:
    x_mid, y_mid = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    floor = HEIGHT - BOTTOM
    body = []
    for tick in _ticks(*frame.x_range):
        x = _x(tick, frame)
        shown = f"{100 * tick:.0f}%" if frame.percent else _short(tick, frame.x_range)
        body.append(f'<path d="M{x:.1f} {TOP:g}V{floor:g}" stroke="{PALE}" fill="none"/>')
        body.append(f'<text x="{x:.1f}" y="{floor + 16:g}" text-anchor="middle" fill="{INK}">{shown}</text>')
    for tick in _ticks(*frame.y_range):
        y = _y(tick, frame)
        shown = _short(tick, frame.y_range)
        body.append(f'<path d="M{LEFT:g} {y:.1f}H{WIDTH - RIGHT:g}" stroke="{PALE}" fill="none"/>')
        body.append(f'<text x="{LEFT - 6:g}" y="{y + 4:.1f}" text-anchor="end" fill="{INK}">{shown}</text>')
    body.append(f'<path d="M{LEFT:g} {TOP:g}V{floor:g}H{WIDTH - RIGHT:g}" stroke="{FAINT}" fill="none"/>')
    label = f'text-anchor="middle" font-size="12.5" fill="{INK}"'
    body.append(f'<text x="{x_mid:g}" y="{HEIGHT - 10:g}" {label}>{escape(frame.x_label)}</text>')
    turned = f'transform="translate(14 {y_mid:g}) rotate(-90)"'
    body.append(f"<text {turned} {label}>{escape(frame.y_label)}</text>")
    return body


def _drawn(layer: Line | Points | Bars, frame: Frame) -> list[str]:
    if isinstance(layer, Line):
        pieces = [
            _thinned(_x(x, frame), _y(y, frame))
            for x, y in _inside(np.array(layer.x), np.array(layer.y), frame.y_range)
        ]
        path = "".join("M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(*piece, strict=True)) for piece in pieces)
        return [f'<path d="{path}" {_line_of(layer.stroke)}/>'] if path else []
    if isinstance(layer, Bars):
        floor = HEIGHT - BOTTOM
        return [
            f'<path d="M{_x(x, frame):.1f} {floor:g}v{-34 * h:.1f}" stroke="{FAINT}" stroke-width="3" fill="none"/>'
            for x, h in zip(layer.x, layer.height, strict=True)
        ]
    body = []
    for low, high, x in zip(layer.low, layer.high, layer.x, strict=False):
        ends = f"M{_x(x, frame):.1f} {_y(low, frame):.1f}V{_y(high, frame):.1f}"
        body.append(f'<path d="{ends}" stroke="{layer.stroke.colour}" stroke-width="1.6" fill="none"/>')
    for x, y in zip(layer.x, layer.y, strict=True):
        body.append(_marker(float(_x(x, frame)), float(_y(y, frame)), layer.stroke))
    return body


def _line_of(stroke: Stroke) -> str:
    dash = f' stroke-dasharray="{stroke.dash}"' if stroke.dash else ""
    return f'fill="none" stroke="{stroke.colour}" stroke-width="{stroke.width:g}"{dash} stroke-linejoin="round"'


def _marker(x: float, y: float, stroke: Stroke) -> str:
    place = f'transform="translate({x:.1f} {y:.1f})"'
    return f'<path d="{_SHAPES[stroke.shape]}" {place} fill="{stroke.colour}" stroke="#fff" stroke-width="0.8"/>'


def _upright(at: float, span: tuple[float, float], height: float = STRIP_HEIGHT) -> str:
    x = _along(at, span)
    return f'<path d="M{x:.1f} 0V{height:g}" stroke="{FAINT}" stroke-dasharray="2 2" fill="none"/>'


def _along(value: float, span: tuple[float, float]) -> float:
    share = (value - span[0]) / (span[1] - span[0])
    return STRIP_PAD + min(max(share, 0.0), 1.0) * (STRIP_WIDTH - 2 * STRIP_PAD)


def _x(value: ArrayLike, frame: Frame) -> Array:
    low, high = frame.x_range
    return np.asarray(LEFT + (np.asarray(value) - low) / (high - low) * (WIDTH - LEFT - RIGHT))


def _y(value: ArrayLike, frame: Frame) -> Array:
    low, high = frame.y_range
    return np.asarray(HEIGHT - BOTTOM - (np.asarray(value) - low) / (high - low) * (HEIGHT - TOP - BOTTOM))


def _inside(x: Array, y: Array, span: tuple[float, float]) -> list[tuple[Array, Array]]:
    """Cut a curve where it leaves a range, and return the pieces that lie inside.

    Examples
    --------
    >>> [(x.tolist(), y.tolist()) for x, y in _inside(np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.5, 0.5]), (0.0, 1.0))]
    [([0.0, 0.5], [0.5, 1.0]), ([1.5, 2.0], [1.0, 0.5])]
    """
    for bound in span:
        at = np.flatnonzero((y[:-1] - bound) * (y[1:] - bound) < 0)
        share = (bound - y[at]) / (y[at + 1] - y[at])
        x = np.insert(x, at + 1, x[at] + share * (x[at + 1] - x[at]))
        y = np.insert(y, at + 1, bound)
    middle = (y[:-1] + y[1:]) / 2
    out = ~((middle >= span[0]) & (middle <= span[1]))  # of each step between two points; NaN is outside
    starts = np.flatnonzero(np.diff(np.concatenate([[True], out, [True]]).astype(int)) == -1)
    ends = np.flatnonzero(np.diff(np.concatenate([[True], out, [True]]).astype(int)) == 1)
    return [(x[a : b + 1], y[a : b + 1]) for a, b in zip(starts, ends, strict=True)]


def _thinned(x: Array, y: Array) -> tuple[Array, Array]:
    """Keep the points that differ by half a unit of the picture, the first and the last."""
    grid = np.round(np.stack([x, y]) * 2)
    keep = np.ones(x.size, dtype=bool)
    keep[1:-1] = (grid[:, 1:-1] != grid[:, :-2]).any(axis=0)
    return x[keep], y[keep]


def _ticks(low: float, high: float) -> list[float]:
    """Return three to six round numbers within a range.

    Examples
    --------
    >>> _ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    for power in range(-6, 7):
        for step in (1, 2, 5):
            size = step * 10.0**power
            if (high - low) / size <= 5.5:
                first = int(np.ceil(low / size - 1e-9))
                return [round(k * size, 9) for k in range(first, int(np.floor(high / size + 1e-9)) + 1)]
    return [low, high]


def _short(value: float, span: tuple[float, float]) -> str:
    digits = 1 if span[1] - span[0] > 0.5 else 2 if span[1] - span[0] > 0.05 else 3
    return f"{value:.{digits}f}".replace("-", "−")
