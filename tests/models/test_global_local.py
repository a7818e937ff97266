from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch.nn import functional as F

from medfuse.errors import ConfigError, UsageError
from medfuse.models.aligners import AlignmentContext, GlobalLocal
from medfuse.tensors import LocalFeatures

MODALITIES = ("image", "text")


def contrast(similarity: np.ndarray) -> float:
    return -float(np.diag(log_softmax(similarity, axis=1)).mean() + np.diag(log_softmax(similarity, axis=0)).mean()) / 2


def gloria_by_hand(regions: list[np.ndarray], words: list[np.ndarray], t1: float, t2: float, t3: float) -> float:
    """The local loss, word by word and image by image, as the authors' code has it."""
    match = np.zeros((len(regions), len(words)))
    for j, report in enumerate(words):
        for i, image in enumerate(regions):
            over_words = np.stack([softmax(region @ report.T) for region in image])  # (regions, words)
            total = 0.0
            for k, word in enumerate(report):
                attention = softmax(t1 * over_words[:, k])
                context = sum(a * region for a, region in zip(attention, image, strict=True))
                total += np.exp(t2 * context @ word / np.linalg.norm(context) / np.linalg.norm(word))
            match[i, j] = np.log(total)
    return contrast(t3 * match)


def made(n: int, seed: int, counts: torch.Tensor) -> LocalFeatures:
    draw = torch.Generator().manual_seed(seed)
    most = int(counts.max())
    return LocalFeatures(
        torch.randn(n, most, 5, generator=draw, dtype=torch.float64), torch.arange(most) < counts[:, None]
    )


def test_it_equals_the_published_code_with_gaps_and_padding():
    regions, words = made(4, 0, torch.tensor([3, 3, 2, 3])), made(4, 1, torch.tensor([2, 4, 1, 3]))
    draw = torch.Generator().manual_seed(2)
    pair = {name: F.normalize(torch.randn(4, 5, generator=draw, dtype=torch.float64), dim=1) for name in MODALITIES}
    present = torch.tensor([[True, True], [True, True], [True, False], [True, True]])
    local = {"image": regions, "text": LocalFeatures(words.vectors, words.mask & present[:, 1:])}
    aligner = GlobalLocal(MODALITIES, region_sharpness=4.0, word_sharpness=5.0, match_sharpness=2.0, local_weight=0.7)
    both = [0, 1, 3]
    by_hand = gloria_by_hand(
        [regions.vectors[i][regions.mask[i]].numpy() for i in both],
        [words.vectors[i][words.mask[i]].numpy() for i in both],
        4.0,
        5.0,
        2.0,
    )
    whole = contrast(2.0 * pair["image"][both].numpy() @ pair["text"][both].numpy().T)
    found = aligner(pair, present, AlignmentContext(local=local))
    assert float(found) == pytest.approx(whole + 0.7 * by_hand, abs=1e-9)


def test_the_order_of_modalities_changes_nothing():
    regions, words = made(4, 0, torch.tensor([3] * 4)), made(4, 1, torch.tensor([2, 4, 1, 3]))
    pair = {name: F.normalize(part.vectors[:, 0], dim=1) for name, part in (("image", regions), ("text", words))}
    context, everywhere = AlignmentContext(local={"image": regions, "text": words}), torch.ones(4, 2).bool()
    swapped = GlobalLocal(("text", "image"))(pair, everywhere, context)
    torch.testing.assert_close(GlobalLocal(MODALITIES)(pair, everywhere, context), swapped)


def test_a_model_computes_local_features_for_it_and_for_no_other(make_model, make_batch):
    batch = make_batch([(True, True)] * 3)
    assert make_model().eval()(batch).local == {}
    model = make_model(aligner={"name": "global_local"}).eval()
    local = model(batch).local
    assert local["image"].vectors.shape == (3, 8, 8)  # 2 x 2 x 2 voxels are left of 8 x 8 x 8
    assert torch.equal(local["text"].mask, batch.token_mask)


def test_without_regions_and_words_it_says_what_it_lacks():
    pair = {name: torch.eye(2) for name in MODALITIES}
    with pytest.raises(UsageError, match="found no regions or words; expected the model's local features"):
        GlobalLocal(MODALITIES)(pair, torch.ones(2, 2).bool())


@pytest.mark.parametrize("name", ["region_sharpness", "word_sharpness", "match_sharpness", "local_weight"])
def test_options_out_of_range_are_refused(name):
    with pytest.raises(ConfigError, match=rf"model\.aligner\.{name}: found 0"):
        GlobalLocal(MODALITIES, **{name: 0.0})
