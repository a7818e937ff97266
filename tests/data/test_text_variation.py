from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medfuse.config import AugmentConfig, ImageConfig, TextConfig
from medfuse.data import Preprocessing, TextVariants, text_variants
from medfuse.data.text_variation import vary_text
from medfuse.text import ReportTokenizer, concept_wordings
from medfuse.types import ReportText

TEXT = "FINDINGS: There is a nodule. No pleural effusion. Heart is normal.\nIMPRESSION: Lung nodule. Follow up."
WORDS = " ".join(word for concept in ("nodule", "pleural_effusion") for word in concept_wordings(concept))


@pytest.fixture(scope="module")
def preprocessing() -> Preprocessing:
    tokenizer = ReportTokenizer.train([TEXT, WORDS], vocabulary_size=500)
    text = TextConfig(sections=("findings", "impression"), max_length=64)
    return Preprocessing(ImageConfig(), text, "HU", ("text",), tokenizer)


@pytest.fixture(scope="module")
def variants(preprocessing: Preprocessing) -> TextVariants:
    return text_variants(ReportText(TEXT), preprocessing)


@pytest.fixture(scope="module")
def ids(preprocessing: Preprocessing) -> torch.Tensor:
    found = preprocessing.prepare_text(ReportText(TEXT))
    assert found is not None
    return found


def vary(
    ids: torch.Tensor, variants: TextVariants, *, seed: int = 0, max_length: int = 64, **options: float
) -> list[int]:
    rng = np.random.default_rng(seed)
    changed = vary_text(ids, variants, config=AugmentConfig(**options), rng=rng, max_length=max_length)  # type: ignore[arg-type]
    return changed.tolist()


def test_sentences_cover_every_token_once(variants: TextVariants, ids: torch.Tensor) -> None:
    assert [a for a, _ in variants.sentences[1:]] == [b for _, b in variants.sentences[:-1]]
    assert (variants.sentences[0][0], variants.sentences[-1][1]) == (0, len(ids))
    assert len(variants.sentences) == 5
    assert variants.sections == (0, 0, 0, 1, 1)


def test_without_a_chance_nothing_changes(variants: TextVariants, ids: torch.Tensor) -> None:
    assert vary(ids, variants) == ids.tolist()


@given(seed=st.integers(0, 10_000))
def test_shuffled_sentences_stay_whole_and_in_their_section(
    variants: TextVariants, ids: torch.Tensor, seed: int
) -> None:
    found = vary(ids, variants, seed=seed, shuffle_sentences=1.0)
    border = variants.sentences[2][1]
    for part, names in ((slice(None, border), (0, 1, 2)), (slice(border, None), (3, 4))):
        assert sorted(found[part]) == sorted(ids.tolist()[part])
        for k in names:
            a, b = variants.sentences[k]
            piece = ids.tolist()[a:b]
            assert any(found[i : i + len(piece)] == piece for i in range(len(found)))


def test_every_order_of_the_sentences_comes(variants: TextVariants, ids: torch.Tensor) -> None:
    orders = {tuple(vary(ids, variants, seed=seed, shuffle_sentences=1.0)) for seed in range(400)}
    assert len(orders) == 12  # 3! of the findings times 2! of the impression


def test_a_dropped_section_is_one_of_the_two(variants: TextVariants, ids: torch.Tensor) -> None:
    border = variants.sentences[2][1]
    kept = {tuple(vary(ids, variants, seed=seed, drop_section=1.0)) for seed in range(40)}
    assert kept == {tuple(ids.tolist()[:border]), tuple(ids.tolist()[border:])}


def test_the_only_section_is_never_dropped(preprocessing: Preprocessing) -> None:
    alone = ReportText("FINDINGS: There is a nodule. No pleural effusion.")
    ids = preprocessing.prepare_text(alone)
    assert ids is not None
    assert vary(ids, text_variants(alone, preprocessing), drop_section=1.0) == ids.tolist()


def test_findings_are_worded_as_the_lexicon_words_them(
    variants: TextVariants, ids: torch.Tensor, preprocessing: Preprocessing
) -> None:
    assert len(variants.wordings) >= 2
    first, end, others = variants.wordings[0]
    assert preprocessing.tokenizer is not None
    said = preprocessing.tokenizer.encode("nodule", max_length=9).ids
    assert tuple(ids.tolist()[first:end]) == said
    assert said not in others
    changed = [vary(ids, variants, seed=seed, synonyms=1.0) for seed in range(20)]
    assert all(row != ids.tolist() for row in changed)
    known = {others_ids for *_, all_others in variants.wordings for others_ids in all_others}
    assert all(any(tuple(row[first : first + len(other)]) == other for other in known) for row in changed)


def test_a_longer_wording_is_cut_at_the_length_limit(variants: TextVariants, ids: torch.Tensor) -> None:
    assert len(vary(ids, variants, max_length=5, synonyms=1.0)) == 5


def test_hidden_terms_are_those_that_the_model_answers_without(preprocessing: Preprocessing) -> None:
    from dataclasses import replace

    text = preprocessing.text.model_copy(update={"mask_terms": ("nodule", "heart")})
    reads = replace(preprocessing, text=text)
    report = ReportText(TEXT)
    ids, masked = reads.prepare_text(report), reads.masked().prepare_text(report)
    assert ids is not None and masked is not None
    found = text_variants(report, reads)
    assert len(found.terms) == 3
    assert vary(ids, found, hide_terms=1.0) == masked.tolist()
    assert vary(ids, found) == ids.tolist()
    assert text_variants(report, reads.masked()).terms == ()
