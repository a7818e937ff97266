from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from medfuse.errors import BundleError, ReportTextError, UsageError
from medfuse.text import ReportTokenizer
from medfuse.text.tokens import MAX_JSON_CHARACTERS, PADDING_ID, UNKNOWN_ID

TEXTS = ["A 9 mm nodule, solid.", "No pleural effusion.", "A nodule."]
LATIN = st.text(st.characters(min_codepoint=32, max_codepoint=0x17F, exclude_characters="İ"), max_size=60)


@pytest.fixture(scope="module")
def tokenizer() -> ReportTokenizer:
    return ReportTokenizer.train(TEXTS, vocabulary_size=100)


def vocabulary(tokenizer: ReportTokenizer) -> dict[str, int]:
    return json.loads(tokenizer.to_json())["model"]["vocab"]


def test_special_tokens_have_the_first_ids(tokenizer):
    words = vocabulary(tokenizer)
    assert (words["[PAD]"], words["[UNK]"]) == (PADDING_ID, UNKNOWN_ID) == (0, 1)
    assert tokenizer.vocabulary_size == len(words) == 12


@given(st.permutations(TEXTS))
def test_order_of_the_texts_does_not_matter(texts):
    assert ReportTokenizer.train(texts, vocabulary_size=100) == ReportTokenizer.train(TEXTS, vocabulary_size=100)


def test_vocabulary_keeps_the_most_frequent_words():
    assert vocabulary(ReportTokenizer.train(TEXTS, vocabulary_size=4)) == {"[PAD]": 0, "[UNK]": 1, ".": 2, "a": 3}


def test_rare_words_are_left_out_by_min_frequency():
    kept = vocabulary(ReportTokenizer.train(TEXTS, vocabulary_size=100, min_frequency=2))
    assert set(kept) == {"[PAD]", "[UNK]", ".", "a", "nodule"}


@settings(deadline=None)
@given(st.lists(LATIN, min_size=1, max_size=4), LATIN)
def test_offsets_slice_to_the_tokens(texts, text):
    tokenizer = ReportTokenizer.train([*texts, "nodule"], vocabulary_size=500)
    names = {i: word for word, i in vocabulary(tokenizer).items()}
    padded = text + " nodule"
    encoding = tokenizer.encode(padded, max_length=1000)
    assert not encoding.truncated
    for i, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        assert i == UNKNOWN_ID or padded[start:end].lower() == names[i]
    covered = {k for start, end in encoding.offsets for k in range(start, end)}
    assert all(k in covered for k, character in enumerate(padded) if character.isalnum())


def test_spans_are_read_in_place_and_nothing_else(tokenizer):
    text = "No nodule. A nodule."
    encoding = tokenizer.encode(text, spans=[(11, 20)], max_length=10)
    assert [text[a:b] for a, b in encoding.offsets] == ["A", "nodule", "."]
    assert encoding.offsets[0] == (11, 12)


def test_truncation_is_said(tokenizer):
    assert tokenizer.encode("a a a", max_length=3).truncated is False
    encoding = tokenizer.encode("a a a a", max_length=3)
    assert (len(encoding.ids), len(encoding.offsets), encoding.truncated) == (3, 3, True)


def test_padding_written_in_a_report_is_no_padding(tokenizer):
    assert PADDING_ID not in tokenizer.encode("A [PAD] nodule [UNK]", max_length=20).ids


@pytest.mark.parametrize("text", ["", " \r\n\t", "...", "\u202e"])
def test_text_without_a_word_is_refused(tokenizer, text):
    with pytest.raises(ReportTextError, match="found no word"):
        tokenizer.encode(text, max_length=8)


def test_spans_without_a_word_are_refused(tokenizer):
    with pytest.raises(ReportTextError, match="found no word"):
        tokenizer.encode("A nodule.", spans=[(8, 9)], max_length=8)


def test_huge_text_is_truncated(tokenizer):
    assert tokenizer.encode("nodule " * 150_000, max_length=8).truncated
    assert tokenizer.encode("x" * 400_000, max_length=8).ids == (UNKNOWN_ID,)


@pytest.mark.parametrize(("texts", "size"), [([], 100), (["", " "], 100), (["A nodule."], 2)])
def test_vocabulary_without_a_word_is_refused(texts, size):
    with pytest.raises(UsageError, match="found no word to learn"):
        ReportTokenizer.train(texts, vocabulary_size=size)


def test_json_round_trip_is_equal(tokenizer):
    again = ReportTokenizer.from_json(tokenizer.to_json())
    assert again == tokenizer
    assert hash(again) == hash(tokenizer)
    assert again != ReportTokenizer.train(["Other."], vocabulary_size=100)
    assert again.encode(TEXTS[0], max_length=20) == tokenizer.encode(TEXTS[0], max_length=20)


def test_tokenizers_library_reads_the_json_alike(tokenizer):
    library = Tokenizer.from_str(tokenizer.to_json())
    assert tuple(library.encode(TEXTS[0]).ids) == tokenizer.encode(TEXTS[0], max_length=20).ids


def test_worker_processes_get_an_equal_tokenizer(tokenizer):
    assert pickle.loads(pickle.dumps(tokenizer)) == tokenizer


def changed(tokenizer: ReportTokenizer, **model: object) -> str:
    content = json.loads(tokenizer.to_json())
    content["model"] |= model
    return json.dumps(content)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"model": {}}', "[" * 100_000])
def test_what_is_no_tokenizer_is_refused(content):
    with pytest.raises(BundleError, match="found no tokenizer"):
        ReportTokenizer.from_json(content)


def test_tokenizer_of_another_kind_is_refused(tokenizer):
    with pytest.raises(BundleError, match="another kind"):
        ReportTokenizer.from_json(changed(tokenizer, type="BPE"))


@pytest.mark.parametrize(
    "vocab",
    [{}, [], None, {"[PAD]": 1, "[UNK]": 0}, {"[PAD]": 0, "[UNK]": 1, "a": 3}, {"[PAD]": 0, "[UNK]": 1, "a": 1},
     {"[PAD]": 0, "[UNK]": 1, "a": 2.0}, {"[PAD]": False, "[UNK]": True}, {"[PAD]": 0, "[UNK]": 1, "a": "2"}],
)  # fmt: skip
def test_vocabulary_with_other_ids_is_refused(tokenizer, vocab):
    with pytest.raises(BundleError, match="found other ids"):
        ReportTokenizer.from_json(changed(tokenizer, vocab=vocab))


def test_oversized_json_is_refused_unread():
    with pytest.raises(BundleError, match="20 million"):
        ReportTokenizer.from_json(" " * (MAX_JSON_CHARACTERS + 1))
