from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from medfuse.errors import BundleError, ReportTextError
from medfuse.text import PretrainedTokenizer, ReportTokenizer, tokenizer_from_json
from medfuse.text.pretrained_tokens import OWN_IDS
from medfuse.text.tokens import MAX_JSON_CHARACTERS, PADDING_ID

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = ["A 9 mm nodule, solid, in the right upper lobe.", "No pleural effusion.", "No pneumothorax: Café au lait."]
KINDS = ("BPE", "Unigram", "WordPiece")


def library(kind: str) -> Tokenizer:
    """A tokenizer as published encoders have them, with limits that are not ours."""
    if kind == "WordPiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=80, special_tokens=SPECIAL, show_progress=False)
    elif kind == "BPE":
        tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.NFKC()
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=80, special_tokens=SPECIAL, unk_token="[UNK]", show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=4)
    return tokenizer


@pytest.fixture(scope="module", params=KINDS)
def published(request: pytest.FixtureRequest) -> Tokenizer:
    return library(request.param)


@pytest.fixture(scope="module")
def tokenizer(published: Tokenizer) -> PretrainedTokenizer:
    return PretrainedTokenizer.from_json(published.to_str())


def test_ids_are_those_of_the_library_behind_our_own(published, tokenizer):
    published.no_truncation()
    published.no_padding()
    for text in TEXTS:
        expected = published.encode(text, add_special_tokens=False).ids
        encoding = tokenizer.encode(text, max_length=100)
        assert [i - OWN_IDS for i in encoding.ids] == expected
        assert not encoding.truncated
    assert len(tokenizer.encode(TEXTS[0], max_length=100).ids) > 4  # the limit of the published one
    assert tokenizer.vocabulary_size == published.get_vocab_size() + OWN_IDS


def test_offsets_point_at_words_of_the_untouched_text(tokenizer):
    text = "Right  upper lobe:\n a Café; No pneumothorax."
    encoding = tokenizer.encode(text, max_length=100)
    pieces = [text[a:b] for a, b in encoding.offsets]
    assert all(piece == piece.strip() for piece in pieces)
    covered = {k for a, b in encoding.offsets for k in range(a, b)}
    assert all(k in covered for k, character in enumerate(text) if character.isalnum())


@settings(deadline=None)
@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=0x17F, exclude_characters="İ"), max_size=60))
def test_offsets_stay_inside_any_text_and_in_order(tokenizer, text):
    padded = text + " nodule"
    encoding = tokenizer.encode(padded, max_length=1000)
    assert all(0 <= a <= b <= len(padded) for a, b in encoding.offsets)
    assert [a for a, _ in encoding.offsets] == sorted(a for a, _ in encoding.offsets)
    assert all(OWN_IDS <= i < tokenizer.vocabulary_size for i in encoding.ids)


def test_spans_are_read_in_place_and_nothing_else(tokenizer):
    text = "No effusion. A nodule."
    encoding = tokenizer.encode(text, spans=[(13, 22)], max_length=50)
    assert {k for a, b in encoding.offsets for k in range(a, b)} == {13, *range(15, 22)}


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_written_in_a_report_are_plain_text(kind):
    tokenizer = PretrainedTokenizer.from_json(library(kind).to_str())
    special = {i + OWN_IDS for i in (0, 2, 3, 4)} | {PADDING_ID}
    assert not special & set(tokenizer.encode("A [PAD] nodule [CLS] [SEP] [MASK]", max_length=50).ids)


@pytest.mark.parametrize("text", ["", " \r\n\t", "...", "\u202e"])
def test_text_without_a_word_is_refused(tokenizer, text):
    with pytest.raises(ReportTextError, match="found no word"):
        tokenizer.encode(text, max_length=8)


def test_json_round_trip_is_equal(tokenizer):
    again = tokenizer_from_json(tokenizer.to_json())
    assert isinstance(again, PretrainedTokenizer)
    assert again == tokenizer
    assert again.to_json() == tokenizer.to_json()
    assert again.encode(TEXTS[0], max_length=20) == tokenizer.encode(TEXTS[0], max_length=20)
    assert pickle.loads(pickle.dumps(tokenizer)) == tokenizer


def test_either_kind_is_told_from_its_json(tokenizer):
    own = ReportTokenizer.train(TEXTS, vocabulary_size=100)
    assert tokenizer_from_json(own.to_json()) == own
    assert own != tokenizer


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"model": {}}', '{"model": {"type": "Pickle"}}'])
def test_what_is_no_tokenizer_is_refused(content):
    with pytest.raises(BundleError, match=r"tokenizer\.json: found"):
        tokenizer_from_json(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab": {}}, "empty vocabulary"),
        ({"vocab": 3}, "found no tokenizer"),
        ({"unk_token": []}, "found no tokenizer"),
    ],
)
def test_a_damaged_tokenizer_is_refused(change, message):
    content = json.loads(library("WordPiece").to_str())
    content["model"] |= change
    content["added_tokens"] = []
    with pytest.raises(BundleError, match=message):
        PretrainedTokenizer.from_json(json.dumps(content))


def test_oversized_json_is_refused_unread():
    with pytest.raises(BundleError, match="20 million"):
        tokenizer_from_json(" " * (MAX_JSON_CHARACTERS + 1))
