from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.errors import ReportTextError, UsageError
from medfuse.text import annotate, annotate_many, find_findings, find_sections, find_sentences, load_lexicon, reading
from medfuse.text.sections import find_headings

PIECES = [
    "No effusion.",
    " ",
    "  ",
    "\n",
    "\r\n",
    "FINDINGS: ",
    "IMPRESSION\n",
    "LIVER: ",
    "PAST MEDICAL HISTORY: ",
    "A 5 mm nodule",
    " seen by Dr.",
    " Mrs.",
    " approx.",
    " 3",
    "1. ",
    ")",
    "..",
    "?",
    "The heart XXXX is enlarged.",
    " it measures 12 mm.",
    "- ",
    "• ",
    "Mass",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=14).map(lambda pieces: "A nodule. " + "".join(pieces))
TEXT = "FINDINGS: A 9 mm nodule.\r\nNo effusion.\r\nIMPRESSION: Nodule."


def test_report_holds_the_untouched_text_and_its_parts() -> None:
    report = annotate(TEXT)
    assert report.text == TEXT
    assert [section.name for section in report.sections] == ["findings", "impression"]
    assert [TEXT[a:b] for a, b in report.sentences] == ["A 9 mm nodule.", "No effusion.", "Nodule."]
    assert [f.status for f in report.findings] == ["present", "absent", "present"]


@pytest.mark.parametrize("text", ["", " \r\n", "...", "-- \u202e\u202c --"])
def test_text_without_a_word_is_refused(text: str) -> None:
    with pytest.raises(ReportTextError, match="found no word"):
        annotate(text)


def test_refusal_does_not_repeat_the_text() -> None:
    with pytest.raises(ReportTextError) as caught:
        annotate("***")
    assert "***" not in str(caught.value)


@given(text=st.text(max_size=200).filter(lambda t: any(c.isalnum() for c in t)))
def test_any_text_is_annotated_or_refused_and_every_offset_lies_in_it(text: str) -> None:
    try:
        report = annotate(text)
    except ReportTextError:
        return
    spans = [
        *report.sentences,
        *((s.start, s.end) for s in report.sections),
        *((f.start, f.end) for f in report.findings),
    ]
    assert all(0 <= start < end <= len(text) for start, end in spans)


def test_many_reports_are_annotated_as_each_alone() -> None:
    texts = [TEXT, "A mass.", "No nodule."]
    assert list(annotate_many(texts, batch_size=2)) == [annotate(text) for text in texts]


def test_blank_report_among_many_does_not_end_them() -> None:
    blank, other = annotate_many(["", "A mass."])
    assert blank.findings == blank.sections == blank.sentences == ()
    assert [f.concept for f in other.findings] == ["mass"]


def test_many_reports_are_read_as_the_answers_are_taken() -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "A nodule."

    next(annotate_many(endless(), batch_size=3))
    assert read == 3


def test_batch_size_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="batch_size"):
        annotate_many([TEXT], batch_size=0)


@given(text=TEXTS)
def test_report_is_the_same_whether_its_passages_are_remembered_or_read_anew(text: str) -> None:
    reading._remembered.cache_clear()
    anew = annotate(text)
    hits = reading._remembered.cache_info().hits
    assert annotate(text) == anew
    assert reading._remembered.cache_info().hits > hits


@given(text=TEXTS)
def test_report_is_what_its_sentences_say_when_each_is_read_alone(text: str) -> None:
    report = annotate(text)
    assert report.sections == find_sections(text)
    assert report.sentences == find_sentences(text)
    alone = find_findings(text, report.sections, report.sentences, headings=find_headings(text))
    assert report.findings == alone


def test_passages_remembered_are_bounded_in_number_and_length() -> None:
    reading._remembered.cache_clear()
    known = reading._remembered.cache_info()
    assert known.maxsize is not None
    annotate("A nodule " + "and a mass " * 100 + ".")
    assert reading._remembered.cache_info().currsize == 0
    for number in range(known.maxsize + 5):
        reading.read_passage(f"{number} nodules.", load_lexicon())
    assert reading._remembered.cache_info().currsize == known.maxsize
    reading._remembered.cache_clear()
