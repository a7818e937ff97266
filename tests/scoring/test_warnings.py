from dataclasses import replace
from typing import Any

import pytest

from medfuse.inference import Predictor
from medfuse.io import LesionEntry, Pseudonymizer
from medfuse.scoring.engine import score_study
from medfuse.types import ReportText


@pytest.mark.parametrize(
    ("text", "encoding", "words"),
    [
        ("FINDINGS:\n\nIMPRESSION:\n", "utf-8", "template only"),
        ("FINDINGS: A nodule.", "utf-16", "report decoded from encoding UTF-16"),
        ("Kein Pleuraerguss. Die Lunge ist frei, das Herz nicht vergrößert.", "utf-8", "language"),
        ("FINDINGS: A nodule. " * 3000, "utf-8", "truncated"),
        ("FINDINGS: A nodule.", "utf-8", ""),
    ],
)
def test_what_is_odd_in_a_report_is_said_beside_its_score(
    toy: Any, toy_predictor: Predictor, names: Pseudonymizer, text: str, encoding: str, words: str
) -> None:
    lesions = tuple(replace(lesion, report=None) for lesion in toy.entries[0].lesions)
    assert all(isinstance(lesion, LesionEntry) for lesion in lesions)
    entry = replace(toy.entries[0], lesions=lesions, report=ReportText(text, encoding))
    (row,) = score_study(entry, predictor=toy_predictor, pseudonymizer=names, position="require")
    assert row["status"] == "scored"
    assert (words in row["warnings"]) if words else row["warnings"] == ""
    assert "nodule" not in row["warnings"].lower()
