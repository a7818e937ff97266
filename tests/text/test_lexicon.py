from __future__ import annotations

import pytest

from medfuse.text import annotate
from medfuse.text.words import read_data


def test_each_wording_finds_its_own_concept_and_no_two_concepts_share_one():
    lexicon = read_data("lexicon.yaml")
    wordings = [(wording, concept) for concept, names in lexicon["concepts"].items() for wording in names]
    assert len({wording for wording, _ in wordings}) == len(wordings) > 200
    for wording, concept in wordings:
        (finding,) = annotate(wording).findings
        assert (finding.concept, finding.end - finding.start) == (concept, len(wording))
    assert set(lexicon["measured"]) <= set(lexicon["concepts"])


@pytest.mark.parametrize(
    "text", ["GROUND GLASS", "Ground-glass", "ground\r\n  glass opacities", "ground  glass opacity"]
)
def test_case_hyphens_line_ends_and_plurals_do_not_matter(text):
    assert [f.concept for f in annotate(f"A {text} is seen.").findings] == ["ground_glass"]


@pytest.mark.parametrize("text", ["An 8 mm calcified nodule.", "A calcified nodule of 8 mm."])
def test_size_goes_to_the_noun_and_not_to_what_describes_it(text):
    assert {f.concept: f.size_mm for f in annotate(text).findings} == {"calcification": (), "nodule": (8.0,)}


def test_finding_named_in_a_form_in_capitals_is_kept():
    found = {f.concept: f.status for f in annotate("PNEUMOTHORAX: NONE\nEFFUSION: SMALL\nLUNGS: NODULE").findings}
    assert found == {"pneumothorax": "absent", "pleural_effusion": "present", "nodule": "present"}
