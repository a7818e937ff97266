from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from medfuse.data import Case, to_samples
from medfuse.errors import DataError
from medfuse.inference import Predictor, describe_without_learning, embed_samples, embed_texts
from medfuse.tensors import Sample


@pytest.fixture
def samples(toy_predictor: Predictor, toy_cases: Sequence[Case]) -> Sequence[Sample]:
    return to_samples(toy_cases[:40], toy_predictor.preprocessing)


def test_embeddings_are_those_of_the_model_whatever_the_batches(
    toy_predictor: Predictor, samples: Sequence[Sample]
) -> None:
    together = embed_samples(toy_predictor.bundle, samples)
    for row in (0, 33):
        alone = embed_samples(toy_predictor.bundle, [samples[row]])
        for modality in ("image", "text"):
            np.testing.assert_allclose(together.unit[modality][row], alone.unit[modality][0], atol=1e-5)
            unscaled = together.unscaled[modality][row]
            np.testing.assert_allclose(unscaled / np.linalg.norm(unscaled), together.unit[modality][row], atol=1e-5)


def test_a_text_is_embedded_as_the_report_that_says_the_same(
    toy_predictor: Predictor, toy_cases: Sequence[Case], samples: Sequence[Sample]
) -> None:
    text = toy_cases[0].text
    assert text is not None
    found = embed_texts(toy_predictor.bundle, [text.text, "FINDINGS: nothing of the kind."])
    np.testing.assert_allclose(found[0], embed_samples(toy_predictor.bundle, samples[:1]).unit["text"][0], atol=1e-5)
    assert not np.allclose(found[0], found[1])


def test_an_image_model_embeds_no_text(toy_predictor: Predictor) -> None:
    bundle = toy_predictor.bundle
    image_only = replace(bundle, preprocessing=replace(bundle.preprocessing, modalities=("image",)))
    with pytest.raises(DataError, match="found one that reads no text"):
        embed_texts(image_only, ["FINDINGS: a nodule."])


def test_features_without_learning_count_words_and_describe_boxes(samples: Sequence[Sample]) -> None:
    images, words = describe_without_learning(samples[:3], vocabulary_size=3000)
    assert len(images) == len(words) == 3 and np.isfinite(images).all()
    ids = samples[1].token_ids
    assert ids is not None
    token = int(ids[0])
    assert words[1, token] == pytest.approx(np.log(1 + int((ids == token).sum())))
    assert np.expm1(words[1]).sum() == pytest.approx(len(ids))
    with pytest.raises(DataError, match="found no image or no text; expected both"):
        describe_without_learning([replace(samples[0], token_ids=None)], vocabulary_size=3000)
