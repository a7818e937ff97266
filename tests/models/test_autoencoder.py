from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medfuse.errors import ConfigError
from medfuse.models.autoencoder import MultimodalAutoencoder, VolumeDecoder, WordDecoder, word_counts
from medfuse.models.expert_fusions import product_of_gaussians

BOTH, IMAGE, TEXT, NONE = (True, True), (True, False), (False, True), (False, False)


@pytest.fixture
def make(make_model):
    def build(*modalities: str, **options) -> MultimodalAutoencoder:
        torch.manual_seed(0)
        model = make_model(*(modalities or ("image", "text")), modality_dropout=0.0)
        return MultimodalAutoencoder(model, image_shape=(1, 8, 8, 8), vocabulary_size=20, latent_size=6, **options)

    return build


@pytest.fixture
def batch(make_batch):
    made = make_batch([BOTH, IMAGE, TEXT, BOTH])
    return replace(made, image=made.image.sigmoid())


@pytest.mark.parametrize("size", [(8, 8, 8), (9, 16, 20), (28, 28, 28)])
def test_an_image_of_any_size_comes_back(size):
    image = VolumeDecoder(4, (2, *size), width=2).eval()(torch.randn(3, 4)).detach()
    assert image.shape == (3, 2, *size)
    assert 0 <= float(image.min()) <= float(image.max()) <= 1


def test_words_are_counted_without_padding_and_unknown_ones(batch):
    ids = torch.tensor([[5, 5, 1, 3], [4, 0, 0, 0]])
    mask = torch.tensor([[True] * 4, [True, False, False, False]])
    counts = word_counts(replace(batch, token_ids=ids, token_mask=mask), 6)
    assert counts.tolist() == [[0, 0, 0, 1, 0, 2], [0, 0, 0, 0, 1, 0]]


def test_padding_and_unknown_are_never_drawn():
    assert WordDecoder(4, 10)(torch.randn(3, 4)).exp()[:, :2].sum() == 0


@pytest.mark.parametrize("decode_all", [False, True])
def test_the_losses_are_the_means_over_all_modalities_together_and_each_alone(make, batch, decode_all):
    model = make(variational=False, decode_all=decode_all).eval()
    losses = model(batch)
    embeddings = model.classifier(batch).unscaled
    said = {name: model.experts[name](embeddings[name]).chunk(2, dim=1) for name in ("image", "text")}
    means, log_variances = (torch.stack([said[name][k] for name in ("image", "text")], dim=1) for k in (0, 1))
    counts = word_counts(batch, 20).numpy()
    image, text, divergence = [], [], []
    for kept in ([True, True], [True, False], [False, True]):
        here = batch.present & torch.tensor(kept)
        mean, log_variance = product_of_gaussians(means, log_variances, here)
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean(dim=1)
        divergence.append(kl[here.any(dim=1)].mean().item())
        if kept[0] or decode_all:
            squared = (model.decoders["image"](mean) - batch.image) ** 2
            image.append(squared[batch.present[:, 0] & here.any(dim=1)].mean().item())
        if kept[1] or decode_all:
            logs = model.decoders["text"](mean).detach().numpy()
            rows = np.flatnonzero((batch.present[:, 1] & here.any(dim=1)).numpy())
            text.append(np.mean([-(counts[r] * logs[r]).sum() / counts[r].sum() for r in rows]))
    assert losses["image"].item() == pytest.approx(np.mean(image), rel=1e-5)
    assert losses["text"].item() == pytest.approx(np.mean(text), rel=1e-5)
    assert losses["divergence"].item() == pytest.approx(np.mean(divergence), rel=1e-5)


def test_a_gradient_reaches_encoders_projections_experts_and_decoders(make, batch):
    model = make(noise=0.2).train()
    sum(model(batch).values()).backward()
    for part in (model.classifier.encoders, model.classifier.projections, model.experts, model.decoders):
        assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in part.parameters())
    assert all(p.grad is None for p in model.classifier.heads.parameters())


def test_absent_modalities_change_nothing(make, batch):
    model = make().eval()
    has_image, has_text = batch.present[:, 0, None, None, None, None], batch.present[:, 1, None]
    dirty = replace(
        batch,
        image=torch.where(has_image, batch.image, 9.0),
        token_ids=torch.where(has_text, batch.token_ids, 7),
    )
    for name, value in model(batch).items():
        torch.testing.assert_close(model(dirty)[name], value)
    expected, found = (model.reconstruct(one, given=("image", "text")) for one in (batch, dirty))
    torch.testing.assert_close(found, expected)


def test_an_image_is_made_from_a_report_alone_and_without_anything_from_the_prior(make, make_batch):
    model = make().eval()
    batch = make_batch([BOTH, NONE, TEXT])
    made = model.reconstruct(batch, given=("text",))
    assert made["image"].shape == (3, 1, 8, 8, 8)
    prior = model.decoders["image"](torch.zeros(1, 6))
    torch.testing.assert_close(made["image"][1:2], prior)
    assert not torch.allclose(made["image"][0], prior[0])


def test_the_latent_vector_is_drawn_in_training_alone_and_only_if_variational(make, batch):
    def twice(model):
        found = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            found.append(float(model(batch)["image"].detach()))
        return found

    # The decoder in eval mode: its batch norms would carry one pass into the next.
    first, second = twice(make().train())
    assert first != second
    first, second = twice(make().eval())
    assert first == second


def test_noise_hides_voxels_and_words_from_the_encoders_but_not_from_the_target(make, batch):
    model = make(noise=0.5).train()
    noisy = model._corrupted(batch)
    blank = (noisy.image == 0).float().mean()
    assert 0.4 < float(blank) < 0.6
    changed = noisy.token_ids != batch.token_ids
    assert changed.any()
    assert (noisy.token_ids[changed] == 1).all()
    assert batch.token_mask[changed].all()


def test_it_learns_to_tell_what_it_has_seen(make, make_batch):
    torch.manual_seed(0)
    batch = make_batch([BOTH] * 8)
    images = torch.linspace(0.1, 0.9, 8)[:, None, None, None, None].expand(8, 1, 8, 8, 8).contiguous()
    batch = replace(
        batch, image=images, token_ids=(2 + torch.arange(8))[:, None].expand(8, 6), token_mask=torch.ones(8, 6).bool()
    )
    model = make(variational=False).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        losses = model(batch)
        (10 * losses["image"] + losses["text"]).backward()
        optimizer.step()
    assert losses["text"].detach() < 0.5 * np.log(8)
    from_text = model.reconstruct(batch, given=("text",))["image"].mean(dim=(1, 2, 3, 4)).detach()
    assert float((from_text - images[:, 0, 0, 0, 0]).abs().max()) < 0.2  # a report tells what its image looks like


@pytest.mark.parametrize("options", [{"latent_size": 0}, {"noise": 1.0}])
def test_options_out_of_range_are_refused(make_model, options):
    with pytest.raises(ConfigError, match=r"^pretrain: found a latent size of"):
        MultimodalAutoencoder(make_model(), image_shape=(1, 8, 8, 8), vocabulary_size=20, **options)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_one_modality_will_do(make, make_batch, modality):
    losses = make(modality).train()(make_batch([(True,)] * 4, modalities=(modality,)))
    assert set(losses) == {modality, "divergence"}
