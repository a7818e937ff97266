from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models.aligners import AlignmentContext, CrossModalMapping, Euclidean, TransferMatrix

MODALITIES = ("image", "text")
PRESENT = torch.tensor([[True, True], [True, False], [True, True], [False, True], [True, True]])
BOTH = PRESENT.all(dim=1)


def vectors(n: int, seed: int, size: int = 6) -> torch.Tensor:
    return torch.randn(n, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(n: int, seed: int, size: int = 6) -> torch.Tensor:
    return F.normalize(vectors(n, seed, size), dim=1)


def test_the_squared_distance_of_true_pairs_is_two_less_twice_the_cosine():
    image, text = unit(5, 0), unit(5, 1)
    cosine = np.einsum("ne,ne->n", image[BOTH].numpy(), text[BOTH].numpy())
    loss = Euclidean(MODALITIES)({"image": image, "text": text}, PRESENT)
    assert float(loss) == pytest.approx(float(np.mean(2 - 2 * cosine)), abs=1e-12)


def test_without_unit_length_it_is_the_mean_squared_error_of_what_fusion_reads():
    raw = {"image": vectors(5, 0), "text": vectors(5, 1)}
    embeddings = {name: F.normalize(one, dim=1) for name, one in raw.items()}
    loss = Euclidean(MODALITIES, unit_length=False)(embeddings, PRESENT, AlignmentContext(unscaled=raw))
    expected = F.mse_loss(raw["image"][BOTH], raw["text"][BOTH])
    assert float(loss) == pytest.approx(float(expected), abs=1e-12)


def test_cross_mapping_is_the_mean_squared_error_of_both_predictions():
    torch.manual_seed(0)
    image, text = unit(5, 0), unit(5, 1)
    aligner = CrossModalMapping(MODALITIES, 6, hidden_size=4).double()

    def predicted(name: str, source: np.ndarray) -> np.ndarray:
        w1, b1, w2, b2 = (p.detach().numpy() for p in aligner.decoders[name].parameters())
        return np.maximum(source @ w1.T + b1, 0) @ w2.T + b2

    a, b = image[BOTH].numpy(), text[BOTH].numpy()
    there = ((predicted("image to text", a) - b) ** 2).sum(axis=1).mean()
    back = ((predicted("text to image", b) - a) ** 2).sum(axis=1).mean()
    loss = aligner({"image": image, "text": text}, PRESENT)
    assert float(loss.detach()) == pytest.approx((there + back) / 2, abs=1e-12)


@pytest.mark.parametrize("fixed_target", [True, False])
def test_a_fixed_target_gets_its_gradient_as_a_source_alone(fixed_target):
    torch.manual_seed(0)
    image, text = unit(5, 0).requires_grad_(), unit(5, 1)
    aligner = CrossModalMapping(MODALITIES, 6, fixed_target=fixed_target).double()
    aligner({"image": image, "text": text}, torch.ones(5, 2).bool()).backward()
    source = image.detach().requires_grad_()
    decode = aligner.decoders["image to text"]
    (((decode(source) - text) ** 2).sum(dim=1).mean() / 2).backward()
    assert torch.allclose(image.grad, source.grad) == fixed_target


def test_cross_mapping_learns_a_map_that_is_no_rotation():
    torch.manual_seed(0)
    image = unit(64, 0).float()
    text = F.normalize(image.abs() - 0.3, dim=1)
    aligner = CrossModalMapping(MODALITIES, 6)
    optimizer = torch.optim.Adam(aligner.parameters(), lr=0.01)
    for _ in range(300):
        optimizer.zero_grad()
        aligner({"image": image, "text": text}, torch.ones(64, 2).bool()).backward()
        optimizer.step()
    missed = (aligner.decoders["image to text"](image) - text).square().sum(dim=1).mean()
    assert float(missed.detach()) < 0.02


def test_the_learned_matrix_is_the_closed_form_rotation():
    text = unit(40, 0)
    turn, _ = np.linalg.qr(vectors(6, 1).numpy())
    image = text @ torch.from_numpy(turn)
    aligner = TransferMatrix(MODALITIES, 6, orthogonality=0.1).double()
    optimizer = torch.optim.LBFGS(aligner.parameters(), max_iter=300, tolerance_grad=1e-12, tolerance_change=1e-16)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = aligner({"image": image, "text": text}, torch.ones(40, 2).bool())
        loss.backward()
        return loss

    optimizer.step(closure)
    closed, _ = orthogonal_procrustes(text.numpy(), image.numpy())  # text @ closed = image
    np.testing.assert_allclose(aligner.matrices["text to image"].detach().numpy().T, closed, atol=1e-6)


def test_the_penalty_is_the_squared_distance_from_orthogonality():
    aligner = TransferMatrix(MODALITIES, 2, orthogonality=0.5).double()
    with torch.no_grad():
        aligner.matrices["text to image"].copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    one = torch.tensor([[0.0, 1.0]], dtype=torch.float64)  # M keeps it as it is
    loss = aligner({"image": one, "text": one}, torch.ones(1, 2).bool())
    assert float(loss.detach()) == pytest.approx(0.5 * (4 - 1) ** 2)


def test_options_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"model\.aligner\.hidden_size: found 0; expected 1 or more"):
        CrossModalMapping(MODALITIES, 4, hidden_size=0)
    with pytest.raises(ConfigError, match=r"model\.aligner\.orthogonality: found -1; expected 0 or more"):
        TransferMatrix(MODALITIES, 4, orthogonality=-1)
