"""What a reader says of an answer: a form beside each explanation, and the table that collects the filled-in ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from medfuse.errors import DataError, UsageError
from medfuse.types import Prediction

__all__ = ["FEEDBACK", "TRAINING_ONLY", "Refused", "collect_feedback", "feedback_form"]

FEEDBACK = "feedback.json"
TRAINING_ONLY = "training_only"
"""Column that keeps a row out of validation and test; see `medfuse.training.parts.split_cases`."""
COLUMNS = (
    "study_key", "lesion_id", "target", "label", "agrees", "probability", "called", "reader", "read_on", "comment",
    "model_id", TRAINING_ONLY,
)  # fmt: skip
LONGEST = 500
Refused = list[tuple[str, str]]
"""Folder and reason of each form that could not be read."""


def feedback_form(prediction: Prediction) -> dict[str, object]:
    """Return the form that a reader fills in.

    Parameters
    ----------
    prediction : Prediction

    Returns
    -------
    dict
        ``view`` is empty: a reader writes ``"agree"``, ``"disagree"`` or ``"cannot tell"``; who disagrees with an
        answer of more than two classes names one as ``label``.
    """
    values = prediction.probabilities[prediction.condition]
    if len(prediction.classes) == 2:
        called = prediction.classes[int(values[1] >= prediction.threshold)]
    else:
        called = prediction.classes[values.index(max(values))]
    return {
        "how_to": "Write agree, disagree or cannot tell as view; who disagrees may name the true class as label.",
        "study_key": prediction.case.study_key,
        "lesion_id": prediction.case.lesion_id,
        "target": prediction.target,
        "classes": list(prediction.classes),
        "called": called,
        "probability": float(values[-1]),
        "model_id": prediction.model_id,
        "view": "",
        "label": "",
        "reader": "",
        "read_on": "",
        "comment": "",
    }


def collect_feedback(folder: Path) -> tuple[pd.DataFrame, Refused]:
    """Collect the forms that readers have filled in.

    Parameters
    ----------
    folder : Path
        Of explanations; its folders are searched.

    Returns
    -------
    table : DataFrame
        A row a filled-in form, in the order of its case: ``label`` is the class that the reader holds for true, empty
        who cannot tell; ``training_only`` is always ``"yes"``: a reader who has seen the answer is no reference to
        test it against.
    refused : list of (str, str)
        Folder and reason of each form that cannot be read.

    Raises
    ------
    UsageError
        If there is no form below the folder.
    """
    forms = sorted(folder.rglob(FEEDBACK))
    if not forms:
        raise UsageError("feedback", f"found no {FEEDBACK}", expected="a folder that medfuse explain wrote")
    refused: Refused = []
    rows = list(_rows(forms, refused))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values(["study_key", "lesion_id", "target"], kind="stable", ignore_index=True), refused


def _rows(forms: list[Path], refused: Refused) -> Iterator[dict[str, object]]:
    for form in forms:
        where = f"{form.parent.name}/{FEEDBACK}"
        try:
            row = _row(json.loads(form.read_text(encoding="utf-8")), where)
        except DataError as error:
            refused.append((where, str(error)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            refused.append((where, f"cannot be read as the form that medfuse explain wrote ({type(error).__name__})"))
        else:
            if row is not None:
                yield row


def _row(form: dict[str, Any], where: str) -> dict[str, object] | None:
    """Return the row of a form; None if nobody has filled it in."""
    view = " ".join(form["view"].split()).casefold()
    classes, called, label = list(form["classes"]), str(form["called"]), form["label"].strip()
    if not view and not label:
        return None
    if view not in ("", "agree", "disagree", "cannot tell"):
        raise DataError(where, "found another view", expected="agree, disagree or cannot tell")
    if label and label not in classes:
        raise DataError(where, "found a label that is no class of the target", expected=" or ".join(map(repr, classes)))
    if not label:
        label = _meant(view, classes, called, where)
    elif view in ("agree", "disagree") and (label == called) != (view == "agree"):
        raise DataError(where, f"found {view!r} beside a label that says otherwise", expected="one view")
    elif view == "cannot tell":
        raise DataError(where, "found 'cannot tell' beside a label", expected="one of them")
    return {
        **{name: str(form[name])[:LONGEST] for name in ("study_key", "lesion_id", "target", "model_id")},
        **{name: str(form[name]).strip()[:LONGEST] for name in ("reader", "read_on", "comment")},
        "label": label,
        "agrees": {"": "", called: "yes"}.get(label, "no"),
        "called": called,
        "probability": float(form["probability"]),
        TRAINING_ONLY: "yes",
    }


def _meant(view: str, classes: list[str], called: str, where: str) -> str:
    """Return the class that a view without a label means."""
    if view != "disagree":
        return called if view == "agree" else ""
    others = [name for name in classes if name != called]
    if len(others) > 1:
        raise DataError(where, "found 'disagree' without a label", expected=" or ".join(map(repr, others)))
    return others[0]
