from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.text import find_sentences
from medfuse.text.sections import find_headings
from medfuse.text.sentences import MAX_SENTENCE_CHARACTERS, passages_of, split_passage


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in find_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A nodule. No effusion.", ["A nodule.", "No effusion."]),
        ("A 1.2 cm nodule. Clear.", ["A 1.2 cm nodule.", "Clear."]),
        ("Seen by Dr. Low at 4 p.m. today. Clear.", ["Seen by Dr. Low at 4 p.m. today.", "Clear."]),
        ("Nodule vs. mass. Clear.", ["Nodule vs. mass.", "Clear."]),
        ("Clear lungs!No nodule? Yes.", ["Clear lungs!No nodule?", "Yes."]),
        ("No effusion.Nodule seen.", ["No effusion.", "Nodule seen."]),
        ("1. A nodule.\n2. No effusion.", ["1. A nodule.", "2. No effusion."]),
        ("- A nodule\n- No effusion", ["- A nodule", "- No effusion"]),
        ("No effusion\n\nA nodule", ["No effusion", "A nodule"]),
        ("No effusion\nA nodule", ["No effusion", "A nodule"]),
        ("There is no evidence of a\nnodule.", ["There is no evidence of a\nnodule."]),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_sentences_end_where_a_reader_ends_them(text: str, expected: list[str], line_end: str) -> None:
    assert sentences(text.replace("\n", line_end)) == [part.replace("\n", line_end) for part in expected]


def test_headings_are_in_no_sentence() -> None:
    text = "FINDINGS: A nodule\nIMPRESSION\nStable. RECOMMENDATION: none"
    assert sentences(text) == ["A nodule", "Stable.", "none"]


@pytest.mark.parametrize("text", ["", " ", "...", "\r\n- -\n!?", "\u202e\u202c"])
def test_text_without_a_word_has_no_sentence(text: str) -> None:
    assert find_sentences(text) == ()


def test_endless_sentence_is_cut_at_a_space() -> None:
    text = "lung " * 2000
    parts = sentences(text)
    assert max(map(len, parts)) <= MAX_SENTENCE_CHARACTERS
    assert " ".join(parts) == text.strip()


@given(text=st.text(alphabet=st.sampled_from(list("aB1.!?:-*() \r\n\tİß\u202e\u2028")), max_size=200))
def test_sentences_hold_every_word_outside_headings_once_and_in_order(text: str) -> None:
    end = 0
    for start, stop in find_sentences(text):
        assert end <= start < stop <= len(text)
        assert text[start:stop].strip() == text[start:stop]
        assert any(character.isalnum() for character in text[start:stop])
        end = stop
    if ":" not in text and "-" not in text:
        # Without a colon or dash nothing of this alphabet is a heading.
        inside = "".join(text[a:b] for a, b in find_sentences(text))
        assert [c for c in inside if c.isalnum()] == [c for c in text if c.isalnum()]


@given(
    pieces=st.lists(
        st.sampled_from(
            ["Low", "mrs", "Mrs", "approx", "fig", "no", "Dr", "lung", "mass", "XXXX", "12", ".", "?", ")", '"', ". ",
             ".\n", "  ", " ", "\n", "\n\n", "• ", "1) ", "A", "x" * 49]
        ),
        max_size=16,
    )
)  # fmt: skip
def test_cut_passages_have_the_sentences_of_the_whole(pieces: list[str]) -> None:
    text = "".join(pieces)
    if find_headings(text):
        return
    parts = [(start + a, start + b) for start, passage in passages_of(text, ()) for a, b in split_passage(passage)]
    assert parts == split_passage(text)
    assert "".join(passage for _, passage in passages_of(text, ())) == text
