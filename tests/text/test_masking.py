from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.errors import ReportTextError
from medfuse.text import overlaps, term_spans


def found(text: str, *terms: str) -> list[str]:
    return [text[start:end] for start, end in term_spans(text, terms)]


def test_a_concept_stands_for_its_wordings_and_plurals_whatever_is_said_of_it() -> None:
    text = "No PTX. Two pulmonary nodules; the largest nodule is solid."
    assert found(text, "nodule") == ["pulmonary nodules", "nodule"]
    assert found("There is no nodule.", "nodule") == ["nodule"]


def test_a_finding_said_without_its_name_is_masked_too() -> None:
    text = "The heart is enlarged. Lungs are clear."
    assert any("enlarged" in part for part in found(text, "cardiomegaly"))


def test_a_word_that_is_no_concept_is_masked_literally_whatever_its_case_and_hyphens() -> None:
    assert found("Highly Suspicious; follow-up, FOLLOW UP.", "suspicious", "follow up") == [
        "Suspicious",
        "follow-up",
        "FOLLOW UP",
    ]
    assert found("Unsuspicious.", "suspicious") == []


def test_without_terms_nothing_is_masked() -> None:
    assert term_spans("A nodule.", ()) == []


def test_a_concept_in_a_text_that_cannot_be_read_is_refused_and_not_left_in() -> None:
    german = "Der Befund zeigt einen Rundherd im rechten Oberlappen. Kein Pleuraerguss, keine Infiltrate nachweisbar."
    with pytest.raises(ReportTextError):
        term_spans(german, ["nodule"])


@given(st.text(max_size=80))
def test_spans_lie_in_the_text(text: str) -> None:
    for start, end in term_spans(text, ("suspicious", "a")):
        assert 0 <= start < end <= len(text)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted), max_size=4), st.integers(0, 20))
def test_overlap_is_a_shared_character(others: list[list[int]], start: int) -> None:
    spans = [(a, b) for a, b in others]
    shared = set(range(start, start + 3)) & {i for a, b in spans for i in range(a, b)}
    assert overlaps((start, start + 3), [span for span in spans if span[0] < span[1]]) == bool(shared)
