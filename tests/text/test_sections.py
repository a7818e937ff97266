from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.errors import UsageError
from medfuse.text import annotate, find_sections, select_sections

LINES = st.lists(
    st.sampled_from(
        [
            "FINDINGS:",
            "Impression",
            "1. LESION 2",
            "LUNGS: clear",
            "A nodule.",
            "",
            "---",
            "\u202ex\u202c",
            "İ: ß",
            "a - b",
        ]
    ),
    max_size=8,
)


def bodies(text: str) -> list[tuple[str, str]]:
    return [(section.name, text[section.start : section.end]) for section in find_sections(text)]


@pytest.mark.parametrize(
    "text",
    [
        "FINDINGS: A nodule.\nIMPRESSION: Stable.",
        "Findings: A nodule.\nImpression: Stable.",
        "findings: A nodule.\nimpression: Stable.",
        "FINDINGS\nA nodule.\nIMPRESSION\nStable.",
        "Findings:\nA nodule.\n\nImpression:\nStable.",
        "FINDINGS :  A nodule.\n  IMPRESSION:Stable.",
        "**Findings:** A nodule.\n## Impression\nStable.",
        "1. FINDINGS: A nodule.\n2. IMPRESSION: Stable.",
        "FINDINGS: A nodule. IMPRESSION: Stable.",
        "FINDINGS - A nodule.\nCONCLUSION: Stable.",
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_usual_forms_of_a_header_are_found(text: str, line_end: str) -> None:
    found = bodies(text.replace("\n", line_end))
    assert found == [("findings", "A nodule."), ("impression", "Stable.")]


def test_all_parts_of_a_full_report_are_named() -> None:
    text = (
        "EXAM: CT chest.\nCLINICAL HISTORY: Cough.\nTECHNIQUE: Axial.\nCOMPARISON: None.\nFINDINGS: Clear.\n"
        "IMPRESSION: Normal.\nRECOMMENDATION: None.\nADDENDUM: Seen."
    )
    names = ["exam", "indication", "technique", "comparison", "findings", "impression", "recommendation", "addendum"]
    assert [name for name, _ in bodies(text)] == names


@pytest.mark.parametrize(
    "text",
    [
        "LESION 1\nA nodule.\nLESION 2\nA mass.",
        "LESION 1: A nodule.\r\nLESION 2: A mass.",
        "1. LESION 1: A nodule.\n2. LESION 2: A mass.",
        "Nodule #1: A nodule.\nNodule #2: A mass.",
    ],
)
def test_numbered_lesions_are_findings(text: str) -> None:
    assert bodies(text) == [("findings", "A nodule."), ("findings", "A mass.")]


def test_heading_of_anatomy_stays_within_the_findings() -> None:
    assert bodies("FINDINGS:\nLUNGS: Clear.\nHEART: Normal.\nIMPRESSION: Fine.") == [
        ("findings", "LUNGS: Clear.\nHEART: Normal."),
        ("impression", "Fine."),
    ]


def test_unheaded_text_is_the_body() -> None:
    assert bodies(" A nodule in the right lobe. \n") == [("body", "A nodule in the right lobe.")]


def test_text_before_the_first_header_is_kept() -> None:
    assert bodies("CT chest.\nFINDINGS: Clear.")[0] == ("body", "CT chest.")


@pytest.mark.parametrize(
    "sentence",
    [
        "There are no findings here.",
        "No findings: normal chest.",
        "History of cancer is noted.",
        "My impression is good.",
    ],
)
def test_word_inside_a_sentence_is_no_header(sentence: str) -> None:
    assert bodies(sentence) == [("body", sentence)]


def test_selected_sections_come_in_the_order_of_the_text() -> None:
    text = "IMPRESSION: Stable.\nHISTORY: Cough.\nFINDINGS: A nodule."
    spans = select_sections(text, ["findings", "impression"])
    assert [text[a:b] for a, b in spans] == ["Stable.", "A nodule."]


def test_selection_from_an_annotated_report_equals_that_from_its_text() -> None:
    text = "HISTORY: Cough.\nFINDINGS: A nodule."
    assert select_sections(annotate(text), ["findings"]) == select_sections(text, ["findings"])


@pytest.mark.parametrize("text", ["A nodule.", "HISTORY: Cough.", "FINDINGS: ---\nHISTORY: Cough.", "FINDINGS:"])
def test_report_with_no_word_in_the_named_sections_is_read_whole(text: str) -> None:
    assert select_sections(text, ["findings"]) == ((0, len(text)),)


def test_no_name_selects_the_whole_text() -> None:
    assert select_sections("HISTORY: Cough.\nFINDINGS: A nodule.", []) == ((0, 35),)


def test_unknown_section_is_refused_with_the_nearest_right_one() -> None:
    with pytest.raises(UsageError, match="did you mean 'findings'"):
        select_sections("Clear.", ["finding"])


@pytest.mark.parametrize("text", ["", " \r\n\t", "\n" * 50])
def test_blank_text_has_no_section(text: str) -> None:
    assert find_sections(text) == ()


@given(lines=LINES, line_end=st.sampled_from(["\n", "\r\n", "\r", "\u2028"]))
def test_sections_are_in_order_and_never_overlap(lines: list[str], line_end: str) -> None:
    text = line_end.join(lines)
    end = 0
    for section in find_sections(text):
        assert end <= section.start < section.end <= len(text)
        assert text[section.start : section.end].strip() == text[section.start : section.end]
        end = section.end


@given(text=st.text(max_size=300))
def test_any_text_has_sections_that_lie_in_it(text: str) -> None:
    assert all(0 <= section.start < section.end <= len(text) for section in find_sections(text))
    assert all(0 <= start <= end <= len(text) for start, end in select_sections(text, ["findings"]))


@pytest.mark.parametrize("piece", ["A", "A ", " ", "\n", "- ", "*", "ABC DEF: ", "FINDINGS: x. ", "A(", "a\t", "1. "])
def test_megabyte_takes_bounded_time(piece: str) -> None:
    text = "x" + piece * (1_000_000 // len(piece)) + "x"
    started = time.process_time()
    find_sections(text)
    assert time.process_time() - started < 3
