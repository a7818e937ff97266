"""Slices drawn for reading: letters and scale legible on any tissue, a contour instead of paint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medfuse.reporting.figures import data_uri
from medfuse.reporting.planes import Plane, three_planes
from medfuse.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CONTOUR_SHARE", "SMOOTHING_VOXELS", "Panel", "default_window", "draw_panels", "smoothed_map"]

CONTOUR_SHARE = 0.5
"""The contour is drawn where the map reaches this share of its largest value."""
SMOOTHING_VOXELS = 1.0
"""Standard deviation of the Gaussian that the map is smoothed with before it is drawn."""

_FOR, _AGAINST = "#ff9f1c", "#5ec8ff"
_INCHES, _DPI = 3.0, 150


@dataclass(frozen=True, slots=True)
class Panel:
    """One plane, drawn twice.

    Parameters
    ----------
    name : {"axial", "coronal", "sagittal"}
    number, count : int
        Which slice, from 1, and of how many.
    counted_from : str
        The side of slice 1.
    plain, marked : str
        Data URIs without and with contours; ``marked`` is empty without a map.
    """

    name: str
    number: int
    count: int
    counted_from: str
    plain: str
    marked: str


def smoothed_map(image_map: Array) -> Array:
    """Return the map as it is drawn: smoothed a little, since single voxels of a gradient mean nothing.

    Parameters
    ----------
    image_map : ndarray, shape (I, J, K)

    Returns
    -------
    ndarray of float64, shape (I, J, K)

    Examples
    --------
    >>> spike = np.zeros((9, 9, 9)); spike[4, 4, 4] = 1.0
    >>> blurred = smoothed_map(spike)
    >>> np.unravel_index(blurred.argmax(), blurred.shape) == (4, 4, 4), round(float(blurred.sum()), 3)
    (True, 1.0)
    """
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(np.asarray(image_map, dtype=np.float64), SMOOTHING_VOXELS))


def default_window(image: Array) -> tuple[float, float]:
    """Return a grey window from the image's own values.

    Parameters
    ----------
    image : ndarray, shape (I, J, K)

    Returns
    -------
    tuple of float
        Level and width that span the 0.5th to the 99.5th percentile.

    Examples
    --------
    >>> default_window(np.linspace(0.0, 1.0, 1001))
    (0.5, 0.99)
    """
    low, high = np.percentile(image, [0.5, 99.5])
    return round(float(low + high) / 2, 6), round(max(float(high - low), 1e-6), 6)


def draw_panels(
    image: NDArray[np.generic],
    index: tuple[int, int, int],
    *,
    affine: Array,
    drawn_map: Array | None,
    window: tuple[float, float],
) -> list[Panel]:
    """Draw the three planes through a voxel, each without and with the contour.

    Parameters
    ----------
    image : ndarray, shape (I, J, K)
    index : tuple of int
        Voxel that the planes meet in.
    affine : ndarray, shape (4, 4)
        Voxel index to RAS+ mm.
    drawn_map : ndarray, shape (I, J, K), optional
        The map to take contours from; without it only plain slices are drawn.
    window : tuple of float
        Level and width in the image's units.

    Returns
    -------
    list of Panel
        Axial, coronal, sagittal.
    """
    planes = three_planes(image, affine, index)
    maps = three_planes(drawn_map, affine, index) if drawn_map is not None else (None, None, None)
    threshold = CONTOUR_SHARE * float(np.abs(drawn_map).max()) if drawn_map is not None else 0.0
    return [
        Panel(
            plane.name,
            plane.number,
            plane.count,
            plane.counted_from,
            _draw(plane, window),
            _draw(plane, window, overlay=overlay, threshold=threshold) if overlay is not None else "",
        )
        for plane, overlay in zip(planes, maps, strict=True)
    ]


def _draw(plane: Plane, window: tuple[float, float], *, overlay: Plane | None = None, threshold: float = 0.0) -> str:
    from matplotlib.figure import Figure

    rows, columns = plane.pixels.shape
    height, width = rows * plane.spacing_mm[0], columns * plane.spacing_mm[1]
    # A square for every plane: rows of them line up, and a flat one has room for its letters.
    side = max(height, width)
    figure = Figure(figsize=(_INCHES, _INCHES), facecolor="black")
    axes = figure.add_axes((0, 0, 1, 1))
    low, high = window[0] - window[1] / 2, window[0] + window[1] / 2
    extent = (0.0, width, height, 0.0)
    axes.imshow(
        plane.pixels.astype(np.float64), cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="bilinear"
    )
    axes.set_axis_off()
    axes.set_facecolor("black")
    if overlay is not None and threshold > 0:
        _contours(axes, overlay, threshold)
    _letters(axes, plane)
    _scale_bar(axes, side)
    left, top = (width - side) / 2, (height - side) / 2
    axes.set(xlim=(left, left + side), ylim=(top + side, top), aspect="equal")
    return data_uri(figure, kind="png", dpi=_DPI)


def _contours(axes: Axes, overlay: Plane, threshold: float) -> None:
    """Solid where the map speaks for the answer, dotted where it speaks against it; both on a dark line."""
    from matplotlib import patheffects

    values = overlay.pixels.astype(np.float64)
    if min(values.shape) < 2:
        return
    y = (np.arange(values.shape[0]) + 0.5) * overlay.spacing_mm[0]
    x = (np.arange(values.shape[1]) + 0.5) * overlay.spacing_mm[1]
    for sign, colour, dash in ((1, _FOR, "solid"), (-1, _AGAINST, "dotted")):
        if (sign * values).max() > threshold:
            lines = axes.contour(
                x, y, sign * values, levels=[threshold], colors=colour, linestyles=dash, linewidths=1.8
            )
            lines.set_path_effects([patheffects.withStroke(linewidth=3.4, foreground="black")])


def _letters(axes: Axes, plane: Plane) -> None:
    from matplotlib import patheffects

    outline = [patheffects.withStroke(linewidth=2.6, foreground="black")]
    places = {
        (0.03, 0.5, "left", "center"): plane.left,
        (0.97, 0.5, "right", "center"): plane.right,
        (0.5, 0.98, "center", "top"): plane.top,
        (0.5, 0.02, "center", "bottom"): plane.bottom,
    }
    for (x, y, across, up), letter in places.items():
        axes.text(
            x,
            y,
            letter,
            ha=across,
            va=up,
            color="white",
            fontsize=13,
            fontweight="bold",
            path_effects=outline,
            transform=axes.transAxes,
        )


def _scale_bar(axes: Axes, side: float) -> None:
    """Draw the largest of 1, 2, 5, 10, ... mm that spans at most a third of the picture."""
    from matplotlib import patheffects

    steps = [a * 10.0**b for b in range(-1, 3) for a in (1, 2, 5)]
    length = max((s for s in steps if s <= side / 3), default=steps[0])
    x, y = 0.04, 0.05
    outline = [patheffects.withStroke(linewidth=5.5, foreground="black")]
    axes.plot(
        [x, x + length / side],
        [y, y],
        color="white",
        linewidth=3,
        solid_capstyle="butt",
        path_effects=outline,
        transform=axes.transAxes,
    )
    axes.text(
        x,
        y + 0.025,
        f"{length:g} mm",
        color="white",
        fontsize=11,
        va="bottom",
        path_effects=[patheffects.withStroke(linewidth=2.6, foreground="black")],
        transform=axes.transAxes,
    )
