from __future__ import annotations

from pathlib import Path

import pytest

from medfuse.errors import ConfigError
from medfuse.text import annotate, concept_wordings, load_lexicon
from medfuse.text.lexicon import REGIONS
from medfuse.text.words import read_data


def test_each_wording_finds_its_own_concept():
    for concept, wordings in load_lexicon().wordings.items():
        for wording in wordings:
            found = {f.concept for f in annotate(f"There is {wording}.").findings if f.end - f.start >= len(wording)}
            assert concept in found, wording


def test_no_two_concepts_share_a_wording():
    wordings = [wording for words in load_lexicon().wordings.values() for wording in words]
    assert len(set(wordings)) == len(wordings) > 900


@pytest.mark.parametrize("region", REGIONS)
def test_every_list_names_concepts_and_regions_that_exist(region):
    content = read_data(f"lexicon_{region}.yaml")
    said = {concept for statement in content["statements"] for concept in statement["says"]}
    named = {
        *content["measured"],
        *content["describing"],
        *(c for names in content.get("homes", {}).values() for c in names),
    }
    assert named <= said | set(load_lexicon().wordings)
    assert set(content.get("homes", {})) <= set(read_data("anatomy.yaml")["regions"])


@pytest.mark.parametrize("name", ["lexicon_chest.yaml", "triggers.yaml", "anatomy.yaml", "languages.yaml"])
def test_no_phrase_of_the_data_files_was_read_as_another_type(name):
    def leaves(content):
        if isinstance(content, dict):
            for key, value in content.items():
                yield key
                yield from leaves(value)
        elif isinstance(content, list):
            for value in content:
                yield from leaves(value)
        else:
            yield content

    assert all(isinstance(leaf, str) for leaf in leaves(read_data(name)))


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


def test_a_radiologist_can_add_concepts_wordings_and_statements(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "concepts: {halo_sign: [halo sign], pneumothorax: [collapsed lung air]}\n"
        "measured: [halo_sign]\n"
        "statements:\n- about: [spleen tip]\n  says: {splenomegaly: {present: [palpable]}}\n"
    )
    report = annotate(
        "A 4 mm halo sign. No collapsed lung air. The spleen tip is palpable.", lexicon=load_lexicon([path])
    )
    assert [(f.concept, f.status, f.size_mm) for f in report.findings] == [
        ("halo_sign", "present", (4.0,)),
        ("pneumothorax", "absent", ()),
        ("splenomegaly", "present", ()),
    ]
    assert concept_wordings("halo_sign") == ()


@pytest.mark.parametrize("content", ["[1, 2]", "concept: {a: [b]}", "concepts: [a]", "{", "measured: {a: b}"])
def test_lexicon_in_another_form_is_refused_by_its_name(tmp_path: Path, content: str):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"lexicon mine\.yaml"):
        load_lexicon([path])
