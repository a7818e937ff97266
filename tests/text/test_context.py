from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from medfuse.errors import UsageError
from medfuse.text import Assertion, assert_status

NEGEX = Path(__file__).resolve().parents[3] / "shared/data/nlp/negex/negex.tsv"


def status(text: str) -> str:
    """The status of the concept written in capitals."""
    concept = re.search(r"[A-Z]{3,}(?: [A-Z]{3,})*", text)
    assert concept
    return assert_status(text, [concept.span()])[0].status


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("There is a NODULE.", "present"),
        ("No NODULE.", "absent"),
        ("No effusion, edema or PNEUMOTHORAX.", "absent"),
        ("A NODULE is not seen.", "absent"),
        ("Effusion, edema or PNEUMOTHORAX was not detected.", "absent"),
        ("A NODULE is seen and an effusion is not seen.", "present"),
        ("No effusion, but a NODULE.", "present"),
        ("No effusion. A NODULE.", "present"),
        ("No effusion\nIMPRESSION: a NODULE.".replace("IMPRESSION", "Impression"), "present"),
        ("No change in the NODULE.", "present"),
        ("No significant interval change of the NODULE.", "present"),
        ("Not only a NODULE is seen.", "present"),
        ("Without evidence of EDEMA.", "absent"),
        ("Negative for PNEUMONIA.", "absent"),
        ("Cannot exclude PNEUMONIA.", "uncertain"),
        ("PNEUMONIA cannot be excluded.", "uncertain"),
        ("This may represent PNEUMONIA.", "uncertain"),
        ("Nothing; no findings to suggest PNEUMONIA.", "absent"),
        ("History of PNEUMONIA.", "historical"),
        ("No history of PNEUMONIA.", "absent"),
        ("PNEUMONIA two years ago.", "historical"),
        ("No  EFFUSION".replace("  ", " \r\n\t"), "absent"),
        ("AORTA WITHOUT ANEURYSM", "present"),
    ],
)
def test_trigger_phrases_set_the_status(text, expected):
    assert status(text) == expected


def test_negated_history_is_both():
    assertion = assert_status("No history of pneumonia.", [(14, 23)])[0]
    assert (assertion.negated, assertion.historical, assertion.status) == (True, True, "absent")


def test_family_history_is_not_the_patients():
    assert assert_status("Mother had pneumonia.", [(11, 20)])[0].experiencer == "family"


def test_answers_keep_the_order_of_the_spans():
    text = "No effusion. A nodule. No edema."
    assert [a.status for a in assert_status(text, [(26, 31), (15, 21), (3, 11)])] == ["absent", "present", "absent"]
    assert assert_status(text, []) == []


def test_span_inside_a_heading_is_just_stated():
    assert assert_status("No edema. FINDINGS: A nodule.", [(10, 18)]) == [Assertion()]


def test_span_that_is_a_heading_is_answered_by_what_follows():
    assert assert_status("No edema. FINDINGS: none", [(10, 18)])[0].status == "absent"


@pytest.mark.parametrize("span", [(0, 0), (-1, 3), (5, 99), (4, 2)])
def test_span_outside_the_text_is_refused(span):
    with pytest.raises(UsageError, match="span outside the text"):
        assert_status("A nodule.", [span])


@pytest.mark.skipif(not NEGEX.exists(), reason="needs the NegEx sentences in ../shared")
def test_negation_reaches_its_figure_on_the_negex_sentences():
    right = wrong = 0
    with NEGEX.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            words = r"\s+".join(re.escape(word) for word in row["concept"].split())
            if found := re.search(words.upper(), row["sentence"]) or re.search(words, row["sentence"], re.IGNORECASE):
                got = assert_status(row["sentence"], [found.span()])[0].negated
                wanted = row["negation"] == "Negated"
                right += got and wanted
                wrong += got != wanted
    assert right > 200
    assert 2 * right / (2 * right + wrong) >= 0.975
