"""A shared latent vector from which image and words come back: what encoders learn without a label."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from medfuse.errors import ConfigError
from medfuse.models.classifier import StudyClassifier
from medfuse.models.expert_fusions import product_of_gaussians
from medfuse.models.norms import BatchNorm
from medfuse.models.precision import Conv3d
from medfuse.tensors import Batch

__all__ = ["MultimodalAutoencoder", "VolumeDecoder", "WordDecoder", "word_counts"]

UNKNOWN_ID = 1
"""Token id that stands for a word that is hidden; no word has it, nor 0, which is padding."""

FIRST_WORD_ID = 2


class VolumeDecoder(nn.Module):
    """A latent vector -> an image, by three steps of doubling the resolution.

    Parameters
    ----------
    latent_size : int
        Z.
    image_shape : tuple of int
        (C, I, J, K).
    width : int
        Channels before the last convolution.

    Examples
    --------
    >>> VolumeDecoder(4, (1, 9, 16, 16), width=2).eval()(torch.zeros(2, 4)).shape
    torch.Size([2, 1, 9, 16, 16])
    """

    def __init__(self, latent_size: int, image_shape: tuple[int, int, int, int], *, width: int = 16) -> None:
        super().__init__()
        self.size = image_shape[1:]
        self.start = (4 * width, *(math.ceil(edge / 8) for edge in self.size))
        self.first = nn.Linear(latent_size, math.prod(self.start))
        steps: list[nn.Module] = []
        for before, after in ((4, 2), (2, 1), (1, 1)):
            steps += [
                nn.Upsample(scale_factor=2),
                Conv3d(before * width, after * width, kernel_size=3, padding=1, bias=False),
                BatchNorm(after * width),
                nn.ReLU(inplace=True),
            ]
        self.steps = nn.Sequential(*steps, Conv3d(width, image_shape[0], kernel_size=3, padding=1))

    def forward(self, latent: Tensor) -> Tensor:
        """Return images, shape (B, C, I, J, K), in (0, 1), of latent vectors, shape (B, Z)."""
        i, j, k = self.size
        grown: Tensor = self.steps(self.first(latent).reshape(-1, *self.start))
        return grown[:, :, :i, :j, :k].float().sigmoid()


class WordDecoder(nn.Module):
    """A latent vector -> how likely each word of the vocabulary is to be the next one drawn from the report.

    Parameters
    ----------
    latent_size : int
        Z.
    vocabulary_size : int
        V.

    Notes
    -----
    Source: Miao et al. 2016, Neural Variational Inference for Text Processing, its document model (a softmax over the
    words of a bag).

    Examples
    --------
    >>> WordDecoder(4, 10)(torch.zeros(2, 4)).exp().sum(dim=1).round(decimals=4).tolist()
    [1.0, 1.0]
    """

    def __init__(self, latent_size: int, vocabulary_size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(latent_size, vocabulary_size)

    def forward(self, latent: Tensor) -> Tensor:
        """Return log-probabilities, shape (B, V), of latent vectors, shape (B, Z)."""
        logits: Tensor = self.layer(latent)
        real = torch.arange(logits.shape[1], device=logits.device) >= FIRST_WORD_ID
        return logits.masked_fill(~real, torch.finfo(logits.dtype).min).log_softmax(dim=1)


def word_counts(batch: Batch, vocabulary_size: int) -> Tensor:
    """Count the known words of each report.

    Parameters
    ----------
    batch : Batch
    vocabulary_size : int
        V.

    Returns
    -------
    Tensor, shape (B, V), float32
    """
    words = (batch.token_mask & (batch.token_ids >= FIRST_WORD_ID)).float()
    return words.new_zeros(len(words), vocabulary_size).scatter_add(1, batch.token_ids, words)


class MultimodalAutoencoder(nn.Module):
    """Encode image and report into one latent vector and decode both from it, whichever of them a case has.

    The encoders are those of a classifier, which they stay part of: what they learn here, it has learnt. A modality
    that is neither image nor text is neither read nor decoded.

    Parameters
    ----------
    classifier : StudyClassifier
        Its encoders and projections are trained in place; its fusion and heads are not.
    image_shape : tuple of int
        (C, I, J, K).
    vocabulary_size : int
        V; 0 if the classifier reads no text.
    latent_size : int
        Z.
    variational : bool
        Draw the latent vector from the product of the modalities' Gaussian experts (a product-of-experts VAE); else it
        is that product's mean.
    decode_all : bool
        Let each modality alone tell the others too, which cross-modal generation needs; else it tells itself.
    noise : float
        Share of voxels that are set to 0, and of words that are hidden, before encoding in training, in [0, 1).

    Raises
    ------
    ConfigError
        If an option is out of range, or the classifier reads neither image nor text.

    Notes
    -----
    Source: Wu & Goodman 2018, Multimodal Generative Models for Scalable Weakly-Supervised Learning: the product of
    experts, and the sub-sampled training on all modalities together and on each alone, each of which tells itself; that
    every subset tells all is from Sutter et al. 2021, Generalized Multimodal ELBO. Vincent et al. 2008, Extracting and
    Composing Robust Features with Denoising Autoencoders (masking noise).
    """

    def __init__(  # noqa: PLR0913 - an option of the configuration is an argument
        self,
        classifier: StudyClassifier,
        *,
        image_shape: tuple[int, int, int, int],
        vocabulary_size: int,
        latent_size: int = 64,
        variational: bool = True,
        decode_all: bool = True,
        noise: float = 0.0,
    ) -> None:
        super().__init__()
        self.modalities = tuple(name for name in classifier.modalities if name in ("image", "text"))
        if not self.modalities:
            found = f"found the modalities {list(classifier.modalities)}"
            raise ConfigError("pretrain", found, expected="image or text among model.modalities")
        if latent_size < 1 or not 0 <= noise < 1:
            found = f"found a latent size of {latent_size} and noise of {noise}"
            raise ConfigError("pretrain", found, expected="a size of 1 or more and noise from 0 to below 1")
        self.classifier = classifier
        self.vocabulary_size = vocabulary_size
        self.variational = variational
        self.decode_all = decode_all
        self.noise = noise
        size = classifier.embedding_size
        self.experts = nn.ModuleDict({name: nn.Linear(size, 2 * latent_size) for name in self.modalities})
        decoders: dict[str, nn.Module] = {
            "image": VolumeDecoder(latent_size, image_shape),
            "text": WordDecoder(latent_size, vocabulary_size),
        }
        self.decoders = nn.ModuleDict({name: decoders[name] for name in self.modalities})

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return what training minimises, before it is weighed; its parts are 0 where a batch lacks the modality.

        Parameters
        ----------
        batch : Batch

        Returns
        -------
        dict of str to Tensor of shape ()
            ``image``: squared error a voxel; ``text``: negative log-likelihood a word, in nats; ``divergence``: of the
            latent vector's distribution from a standard normal one, a number of it, in nats. Each is the mean over all
            modalities together and each alone, of the cases that have what is encoded and what is decoded.
        """
        means, log_variances = self._ask(self._corrupted(batch) if self.training else batch)
        alone = [(name,) for name in self.modalities]
        subsets = alone if len(alone) == 1 else [self.modalities, *alone]
        parts: dict[str, list[Tensor]] = {name: [] for name in (*self.modalities, "divergence")}
        for subset in subsets:
            here = self._present(batch, subset)
            mean, log_variance = product_of_gaussians(means, log_variances, here)
            decoded = self.modalities if self.decode_all else subset
            for name, error in self._errors(batch, self._draw(mean, log_variance), decoded, here.any(dim=1)).items():
                parts[name].append(error)
            each = (mean.square() + log_variance.exp() - 1 - log_variance).mean(dim=1) / 2
            parts["divergence"].append(_mean_where(each, here.any(dim=1)))
        return {name: torch.stack(values).mean() for name, values in parts.items()}

    def reconstruct(self, batch: Batch, *, given: tuple[str, ...]) -> dict[str, Tensor]:
        """Decode every modality from some of them.

        Parameters
        ----------
        batch : Batch
        given : tuple of str
            Modalities that are encoded; a case without any of them gets what is likely before anything is seen.

        Returns
        -------
        dict of str to Tensor
            ``image``, shape (B, C, I, J, K), in (0, 1); ``text``, log-probabilities of words, shape (B, V).
        """
        mean, _ = product_of_gaussians(*self._ask(batch.only(*given)), self._present(batch, given))
        return {name: decoder(mean) for name, decoder in self.decoders.items()}

    def _ask(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return each modality's expert: mean and log variance, shape (B, M, Z)."""
        embeddings = self.classifier(batch).unscaled
        said = torch.stack([self.experts[name](embeddings[name]) for name in self.modalities], dim=1)
        means, log_variances = said.chunk(2, dim=2)
        return means, log_variances

    def _draw(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        if not (self.variational and self.training):
            return mean
        return mean + torch.randn_like(mean) * torch.exp(log_variance / 2)

    def _errors(self, batch: Batch, latent: Tensor, names: tuple[str, ...], known: Tensor) -> Mapping[str, Tensor]:
        """Return the mean error of each modality over the known cases that have it."""
        errors: dict[str, Tensor] = {}
        for name in names:
            decoded, here = self.decoders[name](latent), self._present(batch, (name,)).any(dim=1) & known
            if name == "image":
                each = (decoded - batch.image).square().flatten(start_dim=1).mean(dim=1)
            else:
                counts = word_counts(batch, self.vocabulary_size)
                here = here & (counts.sum(dim=1) > 0)
                each = -(counts * decoded).sum(dim=1) / counts.sum(dim=1).clamp(min=1)
            errors[name] = _mean_where(each, here)
        return errors

    def _present(self, batch: Batch, kept: tuple[str, ...]) -> Tensor:
        """Return which of the modalities are kept and there, shape (B, M)."""
        columns = [batch.modalities.index(name) for name in self.modalities]
        keep = torch.tensor([name in kept for name in self.modalities], device=batch.present.device)
        return batch.present[:, columns] & keep

    def _corrupted(self, batch: Batch) -> Batch:
        if not self.noise:
            return batch
        blank = torch.rand_like(batch.image) < self.noise
        hidden = torch.rand(batch.token_ids.shape, device=batch.token_ids.device) < self.noise
        return replace(
            batch,
            image=batch.image.masked_fill(blank, 0.0),
            token_ids=torch.where(hidden & batch.token_mask, UNKNOWN_ID, batch.token_ids),
            image_features=batch.image.new_zeros(len(batch.image), 0),  # those of the image without noise
        )


def _mean_where(each: Tensor, here: Tensor) -> Tensor:
    return torch.where(here, each, 0.0).sum() / here.sum().clamp(min=1)
