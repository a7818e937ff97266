"""Plots as data URIs: vector, deterministic, readable in grey and by the colour-blind."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import cycle
from typing import TYPE_CHECKING

from medfuse.reporting.words import condition_name, number
from medfuse.types import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medfuse.evaluation import Curves, Evaluation

__all__ = ["areas_figure", "calibration_figure", "data_uri", "forest_figure", "new_figure", "roc_figure"]

INK, FAINT = "#1b2733", "#8a949e"
# Okabe and Ito's colours, each with a dash and a marker of its own, so that no reading rests on colour.
Dash = str | tuple[int, Sequence[float]]
_STYLES: dict[str, tuple[str, Dash, str]] = {
    "fused": ("#00785a", "-", "o"),
    "image": ("#0072b2", "--", "s"),
    "text": ("#c04e00", "-.", "^"),
}
_OTHER_STYLES: list[tuple[str, Dash, str]] = [
    ("#666666", ":", "D"),
    ("#a0528b", (0, (5, 1, 1, 1, 1, 1)), "v"),
    ("#8c6d00", (0, (1, 3)), "P"),
]


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


def forest_figure(evaluation: Evaluation) -> str:
    """Draw the AUROC of every condition and baseline with its interval.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    str
        Data URI.
    """
    rows = [
        *evaluation.metrics.items(),
        *((k, v) for k, v in evaluation.baselines.items() if k != "prevalence"),
    ]
    styles = _styles([name for name, _ in rows])
    return _forest(
        [(condition_name(name, among=evaluation.metrics), figures["auroc"]) for name, figures in rows],
        [(colour, marker) for colour, _, marker in (styles[name] for name, _ in rows)],
        level=evaluation.level,
    )


def areas_figure(rows: Sequence[tuple[str, Estimate]], *, level: float = 0.95) -> str:
    """Draw the AUROC of several models with their intervals.

    Parameters
    ----------
    rows : sequence of (str, Estimate)
        Name and area of each, from the top.
    level : float

    Returns
    -------
    str
        Data URI.
    """
    colour, _, marker = _STYLES["fused"]
    return _forest(rows, [(colour, marker)] * len(rows), level=level)


def _forest(rows: Sequence[tuple[str, Estimate]], styles: Sequence[tuple[str, str]], *, level: float) -> str:
    figure, (axes,) = new_figure(4.6, 0.65 + 0.5 * len(rows))
    for place, ((name, area), (colour, marker)) in enumerate(zip(rows, styles, strict=True)):
        axes.plot([area.low, area.high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot(area.value, place, color=colour, marker=marker, markersize=7)
        value = f"{number(area.value)} ({number(area.low)} to {number(area.high)})"
        for x, side, text in ((0, "left", _shorten(name, 38)), (1, "right", value)):
            axes.text(
                x,
                place - 0.36,
                text,
                ha=side,
                va="center",
                fontsize=9,
                color=INK,
                transform=axes.get_yaxis_transform(),
                parse_math=False,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )
    low = min(area.low for _, area in rows)
    axes.axvline(0.5, color=FAINT, linewidth=1, linestyle=(0, (2, 2)), zorder=0)
    axes.set_xlim(min(0.48, low - 0.02), 1.0)
    axes.set_ylim(len(rows) - 0.6, -0.6)
    axes.set_yticks([])
    axes.set_xlabel(f"AUROC with {100 * level:g}% interval (0.5 is chance)", fontsize=9, color=INK)
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.tick_params(labelsize=9, colors=INK)
    return data_uri(figure)


def roc_figure(curves: Mapping[str, Curves], areas: Mapping[str, Estimate]) -> str:
    """Draw ROC curves over each other.

    Parameters
    ----------
    curves : mapping of str to Curves
    areas : mapping of str to Estimate
        AUROC by the same names, for the legend.

    Returns
    -------
    str
        Data URI.
    """
    figure, (axes,) = new_figure(4.4, 4.6)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (2, 2)))
    styles = _styles(list(curves))
    for name, curve in curves.items():
        colour, dash, _ = styles[name]
        label = f"{_shorten(condition_name(name, among=curves))}, {number(areas[name].value)}"
        axes.plot(
            curve.false_positive_rate,
            curve.true_positive_rate,
            color=colour,
            linestyle=dash,
            linewidth=2.2 if name == "fused" else 1.6,
            label=label,
        )
    _unit_square(axes, "1 − specificity", "Sensitivity")
    legend = axes.legend(loc="lower right", fontsize=8.5, frameon=False, handlelength=3, title="AUROC")
    for text in legend.get_texts():
        text.set_parse_math(False)
    return data_uri(figure)


def calibration_figure(name: str, curve: Curves) -> str:
    """Draw predicted against observed share of positives, with the number of cases a bin.

    Parameters
    ----------
    name : str
        Condition.
    curve : Curves

    Returns
    -------
    str
        Data URI.
    """
    figure, (axes,) = new_figure(4.4, 4.6)
    colour, _, marker = _styles([name])[name]
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (2, 2)))
    for point in curve.calibration:
        seen = point.observed
        axes.plot([point.predicted] * 2, [seen.low, seen.high], color=colour, linewidth=1.6)
        axes.plot(point.predicted, seen.value, color=colour, marker=marker, markersize=6)
    sizes = [point.observed.n for point in curve.calibration]
    counted = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    _unit_square(axes, f"Mean predicted probability ({counted} cases a bin)", "Observed share of positives")
    return data_uri(figure)


def _unit_square(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_xlabel(x_label, fontsize=9.5, color=INK)
    axes.set_ylabel(y_label, fontsize=9.5, color=INK)
    axes.spines[["right", "top"]].set_visible(False)
    axes.tick_params(labelsize=9, colors=INK)


def _styles(names: Sequence[str]) -> dict[str, tuple[str, Dash, str]]:
    """Colour, dash and marker by name; each name that is no modality takes the next of the others."""
    others = cycle(_OTHER_STYLES)
    return {name: _STYLES[name] if name in _STYLES else next(others) for name in names}


def _shorten(name: str, longest: int = 28) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
