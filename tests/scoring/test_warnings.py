from dataclasses import replace
from typing import Any

import pytest

from medfuse.inference import Predictor
from medfuse.io import LesionEntry, Pseudonymizer
from medfuse.scoring.scorer import Scorer
from medfuse.scoring.work import to_works
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
    scorer = Scorer(toy_predictor, position="require", study_seconds=60)
    ((_, _, (row,)),) = scorer.run(to_works([entry], names))
    assert row["status"] == "scored"
    assert (words in row["warnings"]) if words else row["warnings"] == ""
    assert "nodule" not in row["warnings"].lower()
