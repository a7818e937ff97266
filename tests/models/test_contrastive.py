from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models.aligners import AlignmentContext, InfoNce, SigLip, SupervisedContrastive

MODALITIES = ("image", "text")


def unit(n: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(n, 5, generator=torch.Generator().manual_seed(seed)), dim=1)


def clip_formula(image: np.ndarray, text: np.ndarray, temperature: float) -> float:
    """Radford et al. 2021, figure 3, in float64."""
    similarity = image.astype(np.float64) @ text.astype(np.float64).T / temperature
    by_image, by_text = log_softmax(similarity, axis=1), log_softmax(similarity, axis=0)
    return -float(np.diag(by_image).mean() + np.diag(by_text).mean()) / 2


@settings(max_examples=50, deadline=None)
@given(n=st.integers(2, 9), seed=st.integers(0, 2**30), temperature=st.floats(0.02, 1.0))
def test_infonce_equals_the_published_formula(n, seed, temperature):
    image, text = unit(n, seed), unit(n, seed + 1)
    loss = InfoNce(MODALITIES, temperature=temperature)({"image": image, "text": text}, torch.ones(n, 2).bool())
    assert float(loss.detach()) == pytest.approx(clip_formula(image.numpy(), text.numpy(), temperature), abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(present=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=9))
def test_infonce_contrasts_true_pairs_only(present):
    image, text, has = unit(len(present), 0), unit(len(present), 1), torch.tensor(present)
    pairs = has.all(dim=1)
    loss = float(InfoNce(MODALITIES, temperature=0.2)({"image": image, "text": text}, has).detach())
    expected = clip_formula(image[pairs].numpy(), text[pairs].numpy(), 0.2) if pairs.sum() > 1 else 0.0
    assert loss == pytest.approx(expected, abs=1e-4)


def test_infonce_of_three_modalities_is_the_mean_over_pairs():
    three = {"image": unit(6, 0), "text": unit(6, 1), "table": unit(6, 2)}
    loss = InfoNce(tuple(three), temperature=0.5)(three, torch.ones(6, 3).bool())
    pairs = [("image", "text"), ("image", "table"), ("text", "table")]
    expected = np.mean([clip_formula(three[a].numpy(), three[b].numpy(), 0.5) for a, b in pairs])
    assert float(loss.detach()) == pytest.approx(float(expected), abs=1e-5)


def test_training_with_infonce_finds_the_partner():
    torch.manual_seed(0)
    image, text = torch.randn(16, 5), torch.nn.Parameter(torch.randn(16, 5))
    aligner = InfoNce(MODALITIES)
    optimizer = torch.optim.Adam([text, *aligner.parameters()], lr=0.05)
    a = F.normalize(image, dim=1)
    for _ in range(200):
        optimizer.zero_grad()
        aligner({"image": a, "text": F.normalize(text, dim=1)}, torch.ones(16, 2).bool()).backward()
        optimizer.step()
    nearest = (a @ F.normalize(text.detach(), dim=1).T).argmax(dim=1)
    assert nearest.tolist() == list(range(16))
    assert aligner.log_scale > math.log(10.0)  # the temperature was learned


@pytest.mark.parametrize(("start", "held"), [(9.0, math.log(100.0)), (-3.0, 0.0)])
def test_the_temperature_is_held_in_range_and_can_come_back(start, held):
    aligner = InfoNce(MODALITIES)
    with torch.no_grad():
        aligner.log_scale.fill_(start)
    aligner({"image": unit(4, 0), "text": unit(4, 1)}, torch.ones(4, 2).bool()).backward()
    assert float(aligner.log_scale.detach()) == pytest.approx(held)
    assert aligner.log_scale.grad != 0


@pytest.mark.parametrize("temperature", [0.0, -1.0, 0.001, 2.0])
def test_a_temperature_out_of_range_is_refused(temperature):
    with pytest.raises(ConfigError, match=r"model\.aligner\.temperature: found .*; expected 0\.01 to 1"):
        InfoNce(MODALITIES, temperature=temperature)


def test_infonce_equals_open_clips_formula_at_its_own_start():
    """open_clip's ClipLoss: (cross_entropy(s a b', 0..n) + cross_entropy(s b a', 0..n)) / 2 with s = exp(ln(1 / 0.07))."""
    image, text = unit(12, 0).double(), unit(12, 1).double()
    scale = np.exp(np.log(1 / 0.07))
    per_image = scale * (image @ text.T).numpy()
    each = [
        np.log(np.exp(rows).sum(axis=1)) - np.diag(rows)  # cross-entropy against the diagonal
        for rows in (per_image, per_image.T)
    ]
    found = InfoNce(MODALITIES, temperature=0.07).double()({"image": image, "text": text}, torch.ones(12, 2).bool())
    assert float(found.detach()) == pytest.approx((each[0].mean() + each[1].mean()) / 2, abs=1e-6)


def test_a_fixed_temperature_is_no_parameter_and_gives_the_same_loss():
    fixed, learned = InfoNce(MODALITIES, temperature=0.2, learned=False), InfoNce(MODALITIES, temperature=0.2)
    pair = {"image": unit(5, 0), "text": unit(5, 1)}
    assert list(fixed.parameters()) == []
    assert fixed.state_dict().keys() == learned.state_dict().keys()
    assert float(fixed(pair, torch.ones(5, 2).bool())) == float(learned(pair, torch.ones(5, 2).bool()).detach())


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 8), seed=st.integers(0, 2**30), temperature=st.floats(0.05, 2.0), bias=st.floats(-10.0, 2.0))
def test_siglip_equals_the_published_formula(n, seed, temperature, bias):
    image, text = unit(n, seed).double(), unit(n, seed + 1).double()
    aligner = SigLip(MODALITIES, temperature=temperature, bias=bias).double()
    loss = aligner({"image": image, "text": text}, torch.ones(n, 2).bool())
    total = 0.0
    for i in range(n):
        for j in range(n):
            z = 1 if i == j else -1
            total += np.log(expit(z * (float(image[i] @ text[j]) / temperature + bias)))
    assert float(loss.detach()) == pytest.approx(-total / n, rel=1e-6)


def test_siglip_starts_from_the_published_temperature_and_bias():
    aligner = SigLip(MODALITIES)
    assert float(aligner.log_scale.detach().exp()) == pytest.approx(10.0)
    assert float(aligner.bias.detach()) == -10.0


def khosla_by_hand(views: np.ndarray, group: list[int], temperature: float) -> float:
    """Equation 2, averaged over the anchors that have a positive."""
    losses = []
    for i, anchor in enumerate(views):
        others = [a for a in range(len(views)) if a != i]
        positives = [p for p in others if group[p] == group[i]]
        if positives:
            log_total = np.log(sum(np.exp(anchor @ views[a] / temperature) for a in others))
            losses.append(-np.mean([anchor @ views[p] / temperature - log_total for p in positives]))
    return float(np.mean(losses))


def test_supervised_contrast_equals_the_published_formula_with_blanks_and_gaps():
    image, text = unit(6, 0).double(), unit(6, 1).double()
    present = torch.tensor([[1, 1], [1, 0], [1, 1], [0, 1], [1, 1], [1, 1]]).bool()
    context = AlignmentContext(
        labels={"malignancy": torch.tensor([0, 1, 1, 0, 0, 1])},
        known={"malignancy": torch.tensor([1, 1, 1, 1, 0, 0]).bool()},
    )
    group = [0, 1, 1, 0, -5, -6]  # the last two are unlabelled: each is a class of its own
    views = np.concatenate([image[present[:, 0]].numpy(), text[present[:, 1]].numpy()])
    groups = [group[i] for m in range(2) for i in range(6) if present[i, m]]
    found = SupervisedContrastive(MODALITIES, temperature=0.3)({"image": image, "text": text}, present, context)
    assert float(found) == pytest.approx(khosla_by_hand(views, groups, 0.3), rel=1e-9)


def test_supervised_contrast_reads_the_target_that_is_named():
    both = {"image": unit(4, 0), "text": unit(4, 1)}
    known = torch.ones(4).bool()
    context = AlignmentContext(
        labels={"malignancy": torch.tensor([0, 0, 1, 1]), "texture": torch.tensor([0, 1, 2, 3])},
        known={"malignancy": known, "texture": known},
    )
    everywhere = torch.ones(4, 2).bool()
    first = SupervisedContrastive(MODALITIES)(both, everywhere, context)
    assert first == SupervisedContrastive(MODALITIES, target="malignancy")(both, everywhere, context)
    assert first != SupervisedContrastive(MODALITIES, target="texture")(both, everywhere, context)
    with pytest.raises(ConfigError, match=r"'malignacy'; expected .*malignancy"):
        SupervisedContrastive(MODALITIES, target="malignacy")(both, everywhere, context)


@pytest.mark.parametrize("aligner", [SigLip, SupervisedContrastive])
def test_a_temperature_of_zero_is_refused(aligner):
    with pytest.raises(ConfigError, match=r"model\.aligner\.temperature: found 0; expected a number above 0"):
        aligner(MODALITIES, temperature=0)
