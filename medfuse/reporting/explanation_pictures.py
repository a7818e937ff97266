"""The image on an explanation page: three planes through the peak of the map, unmarked and with its contour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medfuse.reporting.explanation_facts import CaseFacts
from medfuse.reporting.explanation_sentences import explanation_sentences
from medfuse.reporting.explanation_trust import marks_failed
from medfuse.reporting.panels import CONTOUR_SHARE, SMOOTHING_VOXELS, Panel, default_window, draw_panels, smoothed_map
from medfuse.reporting.planes import OBLIQUE_DEGREES, obliquity_degrees
from medfuse.reporting.words import number
from medfuse.types import Array, Explanation

__all__ = ["Pictures", "contour_sentence", "pictures_of"]


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of a case and what is written under them.

    Parameters
    ----------
    panels : list of Panel
        Of the channel shown.
    channels : dict of str to list of Panel
        Of the others.
    why_no_map : str
        Empty if the map is drawn.
    notes : tuple of str
        How to read the slices.
    has_for, has_against : bool
        Whether a contour speaks for the answer, and against it.
    position_mm : tuple of float, optional
        Where the planes meet, RAS+ mm.
    """

    panels: list[Panel]
    channels: dict[str, list[Panel]]
    why_no_map: str
    notes: tuple[str, ...]
    has_for: bool
    has_against: bool
    position_mm: tuple[float, float, float] | None


def pictures_of(
    explanation: Explanation, facts: CaseFacts, *, window: tuple[float, float] | None = None
) -> Pictures | None:
    """Draw the pictures of a case.

    Parameters
    ----------
    explanation : Explanation
        A map that failed a trust check is not drawn.
    facts : CaseFacts
    window : tuple of float, optional
        Level and width in the image's unit; by default its own percentiles.

    Returns
    -------
    Pictures or None
        None without an image.
    """
    if explanation.image is None:
        return None
    image = np.asarray(explanation.image, dtype=np.float64)
    affine = np.eye(4) if explanation.affine is None else explanation.affine
    drawn, why_no_map = _drawn_map(explanation)
    peak = (
        np.unravel_index(int(np.abs(drawn).argmax()), drawn.shape)
        if drawn is not None
        else [n // 2 for n in image.shape]
    )
    index = (int(peak[0]), int(peak[1]), int(peak[2]))

    def draw(shown: NDArray[np.generic], grey: tuple[float, float]) -> list[Panel]:
        return draw_panels(shown, index, affine=affine, drawn_map=drawn, window=grey)

    grey = window or default_window(image)
    x, y, z = (round(float(value), 1) for value in (affine @ [*index, 1.0])[:3])
    position = None if explanation.affine is None else (x, y, z)
    return Pictures(
        draw(image, grey),
        {name: draw(other, default_window(np.asarray(other))) for name, other in facts.other_channels.items()},
        why_no_map,
        _notes(
            facts, grey, position, has_map=drawn is not None, is_oblique=obliquity_degrees(affine) > OBLIQUE_DEGREES
        ),
        _has_contour(drawn, 1),
        _has_contour(drawn, -1),
        position,
    )


def contour_sentence() -> str:
    """Return at which share of the peak the contour is drawn."""
    return explanation_sentences()("image.contour", share=f"{100 * CONTOUR_SHARE:g}", smoothing=f"{SMOOTHING_VOXELS:g}")


def _drawn_map(explanation: Explanation) -> tuple[Array | None, str]:
    """Return the map as it is drawn, or why there is none."""
    say = explanation_sentences()
    if marks_failed(explanation, "image"):
        return None, say("image.failed_map")
    if explanation.image_map is None:
        return None, say("image.no_map")
    if not np.any(explanation.image_map):
        return None, say("image.empty_map")
    return smoothed_map(np.asarray(explanation.image_map, dtype=np.float64)), ""


def _has_contour(drawn: Array | None, sign: int) -> bool:
    return drawn is not None and bool((sign * drawn).max() > CONTOUR_SHARE * np.abs(drawn).max())


def _notes(
    facts: CaseFacts,
    grey: tuple[float, float],
    position: tuple[float, float, float] | None,
    *,
    has_map: bool,
    is_oblique: bool,
) -> tuple[str, ...]:
    say = explanation_sentences()
    through = say("image.peak") if has_map else say("image.middle")
    if position is None:
        through += "."
    else:
        x, y, z = (number(value, 1) for value in position)
        through = f"{through} {say('image.position', x=x, y=y, z=z)}"
        if has_map and facts.position_mm is not None:
            distance = float(np.linalg.norm(np.subtract(position, facts.position_mm)))
            through = f"{through} {say('image.distance', distance=number(distance, 0))}"
    unit = say("image.unit_hu") if facts.unit == "HU" else ""
    level, width = (f"{value:.4g}".replace("-", "−") for value in grey)
    notes = [through, say("image.view"), say("image.window", level=level, width=width, unit=unit)]
    if facts.other_channels:
        notes.append(say("image.channel", channel=facts.channel))
    if is_oblique:
        notes.append(say("image.oblique"))
    return tuple(notes)
