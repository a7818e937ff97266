"""Offsets where lowercasing changes the length of a text ("İ" becomes two code points) or a letter has many forms."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from medfuse.text import ReportTokenizer
from medfuse.text.tokens import UNKNOWN_ID

WORDS = [
    "İstanbul",
    "İİ",
    "straße",
    "STRAẞE",
    "ﬀ",
    "nodu\u0301le",
    "ΟΔΟΣ",
    "Ǆ",
    "😀",
    "\u202enodule\u202c",
    "a\u200bb",
    ".",
]
GAPS = st.sampled_from([" ", "\r\n", "\t", "\u2028", "\u00a0"])
TOKENIZER = ReportTokenizer.train(["İstanbul straße nodule .", "ﬀ ΟΔΟΣ Ǆ"], vocabulary_size=100)
NAMES = {number: word for word, number in json.loads(TOKENIZER.to_json())["model"]["vocab"].items()}


@given(words=st.lists(st.sampled_from(WORDS), max_size=8), gaps=st.lists(GAPS, min_size=8, max_size=8))
def test_known_word_is_what_its_offsets_slice_out(words: list[str], gaps: list[str]) -> None:
    text = "".join(word + gap for word, gap in zip(words, gaps, strict=False)) + "nodule"
    encoding = TOKENIZER.encode(text, max_length=1000)
    for number, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        # casefold: Python and the tokenizer differ on a sigma at the end of a word.
        assert number == UNKNOWN_ID or text[start:end].casefold() == NAMES[number].casefold()
    assert text[slice(*encoding.offsets[-1])] == "nodule"
    assert encoding.ids[-1] != UNKNOWN_ID


@given(text=st.text(max_size=80), before=st.text(max_size=10))
def test_offsets_hold_each_character_but_white_space_once_and_in_order(text: str, before: str) -> None:
    whole = before + text + " nodule"
    encoding = TOKENIZER.encode(whole, max_length=1000, spans=[(len(before), len(whole))])
    end = len(before)
    for start, stop in encoding.offsets:
        assert whole[end:start].strip() == ""
        assert start < stop
        end = stop
    assert whole[end:] == ""


def test_case_of_a_letter_that_grows_does_not_matter() -> None:
    upper, lower = TOKENIZER.encode("İSTANBUL x", max_length=9), TOKENIZER.encode("i\u0307stanbul x", max_length=9)
    assert upper.ids == lower.ids
    assert upper.offsets == ((0, 8), (9, 10))
    assert lower.offsets == ((0, 9), (10, 11))
