from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models.aligners import Adversarial

MODALITIES = ("image", "text")


def test_the_loss_is_the_discriminators_own_with_each_modality_weighing_the_same():
    torch.manual_seed(0)
    aligner = Adversarial(MODALITIES, 4)
    pair = {name: F.normalize(torch.randn(6, 4), dim=1) for name in MODALITIES}
    present = torch.tensor([[True, row < 2] for row in range(6)])
    image = aligner.discriminator(pair["image"]).log_softmax(dim=1)[:, 0]
    text = aligner.discriminator(pair["text"][:2]).log_softmax(dim=1)[:, 1]
    torch.testing.assert_close(aligner(pair, present), -(image.mean() + text.mean()) / 2)


@pytest.mark.parametrize("strength", [0.3, 2.0])
def test_the_gradient_into_the_embeddings_alone_is_reversed(strength):
    torch.manual_seed(0)
    aligner, present = Adversarial(MODALITIES, 4, strength=strength), torch.ones(5, 2).bool()
    pair = {name: F.normalize(torch.randn(5, 4), dim=1).requires_grad_() for name in MODALITIES}
    aligner(pair, present).backward()
    straight = {name: e.detach().requires_grad_() for name, e in pair.items()}
    plain = [F.cross_entropy(aligner.discriminator(e), torch.full((5,), m)) for m, e in enumerate(straight.values())]
    weights = list(aligner.parameters())
    expected = torch.autograd.grad(sum(plain) / 2, [*straight.values(), *weights])
    for embedding, gradient in zip(pair.values(), expected, strict=False):
        torch.testing.assert_close(embedding.grad, -strength * gradient)
    for weight, gradient in zip(weights, expected[2:], strict=True):
        torch.testing.assert_close(weight.grad, gradient)


def test_training_leaves_no_trace_of_the_modality_in_the_embeddings():
    torch.manual_seed(0)
    draws = torch.randn(256, 4)
    given = {"image": draws + torch.tensor([3.0, 0, 0, 0]), "text": torch.randn(256, 4)}
    layers = nn.ModuleDict({name: nn.Linear(4, 4) for name in MODALITIES})
    aligner = Adversarial(MODALITIES, 4)
    # The discriminator learns the faster, or the two go round each other.
    optimizer = torch.optim.Adam(
        [{"params": aligner.parameters(), "lr": 0.03}, {"params": layers.parameters()}], lr=0.003
    )

    def embedded() -> dict[str, torch.Tensor]:
        return {name: F.normalize(layers[name](x), dim=1) for name, x in given.items()}

    def apart() -> float:
        means = [e.mean(dim=0) for e in embedded().values()]
        return float((means[0] - means[1]).norm().detach())

    before = apart()
    course = []
    for _ in range(250):
        optimizer.zero_grad()
        aligner(embedded(), torch.ones(256, 2).bool()).backward()
        optimizer.step()
        course.append(apart())
    after = sum(course[-50:]) / 50
    assert before > 0.8 and after < 0.1


@pytest.mark.parametrize("options", [{"hidden_size": 0}, {"strength": 0.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=r"model\.aligner\.(hidden_size|strength): found 0"):
        Adversarial(MODALITIES, 4, **options)
