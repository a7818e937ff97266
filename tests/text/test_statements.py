from __future__ import annotations

import pytest

from medfuse.text import annotate


def said(text: str, concept: str) -> str | None:
    return next((f.status for f in annotate(text).findings if f.concept == concept), None)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("The heart is enlarged.", "present"),
        ("Mildly enlarged heart.", "present"),
        ("Heart XXXX is slightly large.", "present"),
        ("There is enlargement of the cardiac silhouette.", "present"),
        ("An increase in heart size is seen.", "present"),
        ("The cardiothoracic ratio is slightly increased.", "present"),
        ("Borderline heart size.", "present"),
        ("Heart size is normal.", "absent"),
        ("Normal heart size.", "absent"),
        ("Heart size and mediastinal contours are within normal limits.", "absent"),
        ("The heart is not enlarged.", "absent"),
        ("Heart size at the upper limits of normal.", "absent"),
        ("The heart is top normal in size.", "uncertain"),
        ("The heart may be enlarged.", "uncertain"),
        ("The mediastinum is normal.", None),
        ("Stable heart, and the aorta is enlarged.", None),
        ("Enlarged aorta. Heart unchanged.", None),
    ],
)
def test_heart_size_is_read_in_the_words_of_reports(text, status):
    assert said(text, "cardiomegaly") == status


def test_one_predicate_is_said_of_each_of_its_subjects():
    text = "Calcific plaques are observed in the aorta and coronary arteries."
    assert said(text, "vascular_calcification") == said(text, "coronary_calcification") == "present"
    assert said("Calcific plaques in the coronary arteries.", "vascular_calcification") is None


def test_statement_can_be_denied():
    assert said("No plaques are seen in the aorta.", "vascular_calcification") == "absent"


def test_lungs_that_are_clear_have_no_consolidation():
    assert said("Both lungs are clear.", "consolidation") == "absent"
    assert said("Both lungs are clear, but the heart is large.", "cardiomegaly") == "present"


def test_short_statement_is_marked_from_subject_to_predicate():
    text = "Today the heart is mildly enlarged."
    (finding,) = annotate(text).findings
    assert text[finding.start : finding.end] == "heart is mildly enlarged"


def test_enlarged_nodes_are_named_past_places_and_sizes():
    (node,) = annotate("Mildly enlarged 16 x 12 mm left lower paratracheal lymph node.").findings
    assert (node.concept, node.size_mm) == ("lymphadenopathy", (16.0, 12.0))
