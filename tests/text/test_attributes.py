from __future__ import annotations

import pytest

from medfuse.text import annotate


def nodule(text: str):
    return next(f for f in annotate(text).findings if f.concept == "nodule")


@pytest.mark.parametrize(
    ("text", "side", "region"),
    [
        ("A nodule in the left upper lobe.", "left", "lung"),
        ("Right adrenal nodule.", "right", "adrenal"),
        ("Bilateral pulmonary nodules.", "bilateral", "lung"),
        ("Nodules in both lungs.", "bilateral", "lung"),
        ("Nodule in the left lobe of the liver.", "left", "liver"),
        ("A left lung nodule and a right renal cyst.", "left", "lung"),
        ("A nodule.", "", ""),
        ("LIVER: A nodule.", "", "liver"),
    ],
)
def test_side_and_region_are_those_of_the_finding(text, side, region):
    finding = nodule(text) if "adrenal" not in text else annotate(text).findings[0]
    assert (finding.laterality, finding.anatomy) == (side, region)


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("New nodule.", "new"),
        ("The nodule is unchanged.", "stable"),
        ("No change in the nodule.", "stable"),
        ("The nodule has decreased in size.", "smaller"),
        ("Interval enlargement of the nodule.", "larger"),
        ("The nodule has resolved.", "resolved"),
        ("A nodule.", ""),
    ],
)
def test_change_is_that_of_the_finding(text, change):
    assert nodule(text).change == change


@pytest.mark.parametrize(
    ("text", "certainty", "status"),
    [
        ("A nodule.", 1.0, "present"),
        ("Probable nodule.", 0.75, "uncertain"),
        ("Nodule versus scar.", 0.6, "uncertain"),
        ("There may be a nodule.", 0.5, "uncertain"),
        ("A nodule cannot be excluded.", 0.25, "uncertain"),
        ("Opacity (nodule?).", 0.25, "uncertain"),
        ("No nodule.", 0.0, "absent"),
    ],
)
def test_certainty_is_graded(text, certainty, status):
    assert (nodule(text).certainty, nodule(text).status) == (certainty, status)


def test_concept_of_one_region_is_there_whatever_else_is_named():
    found = annotate("Mild cardiomegaly with pulmonary nodule. Left hydronephrosis near the spleen.").findings
    assert [(f.concept, f.anatomy) for f in found] == [
        ("cardiomegaly", "heart"),
        ("nodule", "lung"),
        ("hydronephrosis", "kidney"),
    ]
