from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.io.deidentify_text import CODE, NUMBER, clean_code_string, clean_text, code_strings, harmless_words

WORDS = st.sampled_from(
    ["CT", "chest", "nodule", "Mueller", "5", "12.5", "1951", "T2", "B30f", "MRN0012", "Ägidius", "^", "-", " "]
)


@given(st.text(max_size=200))
def test_only_harmless_words_numbers_and_codes_stay(text: str) -> None:
    cleaned = clean_text(text)
    assert cleaned.isascii()
    for token in re.findall(r"\d+\.\d+|[A-Za-z0-9]+", cleaned):
        assert len(token) == 1 or token.lower() in harmless_words() or NUMBER.fullmatch(token) or CODE.fullmatch(token)


@given(st.lists(WORDS, max_size=20), st.sets(st.sampled_from(["ct", "chest", "nodule", "t2", "5", "12"])))
def test_the_patients_own_words_never_stay(parts: list[str], denied: set[str]) -> None:
    cleaned = clean_text(" ".join(parts), denied)
    assert denied & set(re.findall(r"[a-z0-9]+", cleaned.lower())) == set()
    assert clean_text(cleaned, denied) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("t1_mprage_sag_p2_iso", "t1_mprage_sag_p2_iso"),
        ("Thorax^1_Lunge (Adult) B60f 5.0", "Thorax 1 Adult) B60f 5.0"),
        ("DWI b1000 ep2d", "DWI b1000 ep2d"),
        ("Smith, John 555-1234 DOB 02/03/51 MRN 4471182", ""),
        ("3 Feb 1951", "3"),
        ("93-year-old man, 93 years, 93y", "old"),
        ("seen by Dr. Head in room B1204", "seen by Dr. Head in room"),
        ("\x1b$B;3ED\x1b(B CT", ""),
        ("C\0T\0", ""),
        ("U21pdGggSm9obg==", ""),
        ("", ""),
        ("head\r\nneck", "head\r\nneck"),
    ],
)
def test_descriptions(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


@given(st.from_regex(r"[A-Z0-9_ ]{1,20}", fullmatch=True))
def test_a_code_string_stays_whole_or_goes_whole(text: str) -> None:
    assert clean_code_string(text) in (text, "REMOVED")


@pytest.mark.parametrize("text", ["MUELLER", "MRN00471182", "19510203", "ANNA^M", "CHEST OF ANNA", "X" * 17, "Ä"])
def test_code_strings_of_no_code_go(text: str) -> None:
    assert clean_code_string(text) == "REMOVED"


def test_a_part_that_is_a_name_of_the_patient_goes_but_the_standards_own_codes_stay() -> None:
    assert clean_code_string("T1_HEAD", {"head"}) == "REMOVED"
    assert clean_code_string("HEAD", {"head"}) == "HEAD" and "HEAD" in code_strings()
