"""The explanation report: one page for a clinician on one answer, and how far to believe it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from medfuse.reporting import explanation_words as say
from medfuse.reporting.marks import marked_pieces, strongest
from medfuse.reporting.pages import write_json, write_page
from medfuse.reporting.panels import CONTOUR_SHARE, SMOOTHING_VOXELS, default_window, draw_panels, smoothed_map
from medfuse.reporting.planes import OBLIQUE_DEGREES, obliquity_degrees
from medfuse.reporting.words import condition_name, inputs_name
from medfuse.types import Array, Explanation, Prediction

__all__ = ["write_explanation_report"]

_ORDER = ("image", "text", "table", "image+text", "image+table", "text+table", "fused")


def write_explanation_report(
    explanation: Explanation,
    folder: str | Path,
    *,
    provenance: Mapping[str, str],
    true_label: str = "",
    window: tuple[float, float] | None = None,
    limits: Sequence[str] = (),
) -> Path:
    """Write one explanation as a self-contained page and as JSON.

    The map as NIfTI is not written here: image files belong to ``medfuse.io``.

    Parameters
    ----------
    explanation : Explanation
        Image or text may be missing. An image map that failed its deletion test is not shown.
    folder : str or Path
        Made where needed.
    provenance : mapping of str to str
        Shown as given; must hold no patient data.
    true_label : str
        Known label of the case, shown where given.
    window : tuple of float, optional
        Level and width in the units of ``explanation.image``; by default its own percentiles.
    limits : sequence of str
        Sentences on what this page cannot say.

    Returns
    -------
    Path
        ``folder/report.html``; ``folder/explanation.json`` (figures only, no report text) lies beside it.

    Raises
    ------
    DataError
        If token scores leave the text.
    """
    folder = Path(folder)
    prediction = explanation.prediction
    planes = _planes(explanation, window)
    words_failed = say.marks_failed(explanation.checks, "text")
    pieces = marked_pieces(explanation.text, () if words_failed else explanation.token_scores)
    state, sentence = say.agreement(prediction)
    context = {
        "title": f"{prediction.target.replace('_', ' ').capitalize()}, case {prediction.case}",
        "prediction": prediction,
        "explanation": explanation,
        "answer": say.answer_of(prediction),
        "bars": _bars(prediction),
        "agreement": {"state": state, "sentence": sentence, "gap": f"{100 * say.CONFLICT_GAP:g}"},
        "shares": _share_bars(explanation.modality_shares),
        "weights": _weights(explanation.fusion_weights),
        "checks": say.trust_checks(explanation.checks),
        "planes": planes,
        "pieces": pieces,
        "words_failed": words_failed,
        "words_for": strongest(pieces, "for"),
        "words_against": strongest(pieces, "against"),
        "true_label": true_label,
        "limits": limits,
        "provenance": {"Model": prediction.model_id, "Method": explanation.method or "not available", **provenance},
    }
    write_json(folder / "explanation.json", _figures(explanation, planes, provenance))
    return write_page(folder / "report.html", "explanation.html", context)


def _planes(explanation: Explanation, window: tuple[float, float] | None) -> dict[str, object] | None:
    """Everything the picture part needs; None without an image."""
    if explanation.image is None:
        return None
    image = np.asarray(explanation.image, dtype=np.float64)
    affine = np.eye(4) if explanation.affine is None else explanation.affine
    failed = say.marks_failed(explanation.checks, "image")
    drawn: Array | None = None
    if explanation.image_map is not None and not failed and np.any(explanation.image_map):
        drawn = smoothed_map(np.asarray(explanation.image_map, dtype=np.float64))
    middle = tuple(n // 2 for n in image.shape)
    peak = middle if drawn is None else np.unravel_index(int(np.abs(drawn).argmax()), drawn.shape)
    index = (int(peak[0]), int(peak[1]), int(peak[2]))
    level, width = window or default_window(image)
    return {
        "panels": draw_panels(explanation, index, affine=affine, drawn_map=drawn, window=(level, width)),
        "through": "the middle of the image" if drawn is None else "the strongest point of the map",
        "position": [round(float(v), 1) for v in (affine @ [*index, 1.0])[:3]],
        "has_position": explanation.affine is not None,
        "level": f"{level:.4g}",
        "width": f"{width:.4g}",
        "share": f"{100 * CONTOUR_SHARE:g}",
        "smoothing": f"{SMOOTHING_VOXELS:g}",
        "signed": drawn is not None and bool(drawn.min() < -CONTOUR_SHARE * np.abs(drawn).max()),
        "oblique": obliquity_degrees(affine) > OBLIQUE_DEGREES,
        "why_no_map": "" if drawn is not None else _why_no_map(explanation, failed),
    }


def _why_no_map(explanation: Explanation, failed: bool) -> str:
    if failed:
        return "The map failed its deletion test: it points no better than chance. It is not shown."
    if explanation.image_map is None:
        return "No map was made for this image."
    return "The map is zero everywhere: the image did not move this answer."


def _bars(prediction: Prediction) -> list[dict[str, object]]:
    """Probability of the asked class by condition, single modalities first."""
    index = say.asked_class(prediction)
    names = sorted(prediction.probabilities, key=lambda n: _ORDER.index(n) if n in _ORDER else len(_ORDER))
    return [
        {
            "name": inputs_name(prediction.modalities_used) if name == "fused" else condition_name(name),
            "percent": 100 * prediction.probabilities[name][index],
            "main": name == prediction.condition,
        }
        for name in names
    ]


def _share_bars(shares: Mapping[str, float]) -> list[dict[str, object]]:
    """Shares as bars to both sides of zero; the longest fills its side."""
    longest = max((abs(v) for v in shares.values()), default=0.0) or 1.0
    return [
        {
            "name": condition_name(name).removesuffix(" only"),
            "value": value,
            "percent": round(50 * abs(value) / longest, 1),
        }
        for name, value in shares.items()
    ]


def _weights(weights: Mapping[str, float]) -> str:
    """Say how far the fusion heard each modality; nothing if it does not weigh them."""
    return ", ".join(f"{condition_name(name).removesuffix(' only')} {weight:.2f}" for name, weight in weights.items())


def _figures(
    explanation: Explanation, planes: Mapping[str, object] | None, provenance: Mapping[str, str]
) -> dict[str, object]:
    """Return the page's figures for machines; of the text only offsets, never words."""
    prediction = explanation.prediction
    return {
        "case_id": str(prediction.case),
        "target": prediction.target,
        "classes": list(prediction.classes),
        "probabilities": {name: list(map(float, p)) for name, p in prediction.probabilities.items()},
        "threshold": float(prediction.threshold),
        "modalities_used": list(prediction.modalities_used),
        "flags": list(prediction.flags),
        "model_id": prediction.model_id,
        "method": explanation.method,
        "modality_shares": {name: float(v) for name, v in explanation.modality_shares.items()},
        "fusion_weights": {name: float(v) for name, v in explanation.fusion_weights.items()},
        "token_scores": [[int(a), int(b), float(s)] for a, b, s in explanation.token_scores],
        "checks": {name: float(v) for name, v in explanation.checks.items()},
        "planes_meet_at_ras_mm": planes["position"] if planes and planes["has_position"] else None,
        "map_shown": bool(planes and not planes["why_no_map"]),
        "provenance": dict(provenance),
    }
