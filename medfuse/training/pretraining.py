"""Encoders that first learn to tell image and report from one another, of every case, labelled or not."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from medfuse.config import RunConfig
from medfuse.data import EpochBatches, EpochSampler, Preprocessing, augment_batch
from medfuse.errors import TrainingError
from medfuse.models import StudyClassifier
from medfuse.models.autoencoder import MultimodalAutoencoder, word_counts
from medfuse.tensors import Batch, Sample
from medfuse.training.case_data import CaseData
from medfuse.training.module import make_schedule, rate_groups

__all__ = ["pretrain", "reconstruction_errors"]

log = logging.getLogger("medfuse")
CASES_AT_ONCE = 64


def pretrain(
    model: StudyClassifier, data: CaseData, config: RunConfig, preprocessing: Preprocessing
) -> dict[str, float]:
    """Train a classifier's encoders as an autoencoder; nothing else of it changes.

    Parameters
    ----------
    model : StudyClassifier
        Its encoders and projections are trained in place; running statistics stay as they were.
    data : CaseData
        Every training case counts, whether its labels are known or not.
    config : RunConfig
    preprocessing : Preprocessing

    Returns
    -------
    dict of str to float
        `reconstruction_errors` of the validation cases.

    Raises
    ------
    TrainingError
        If a loss is not finite.
    """
    options, tokenizer = config.pretrain, preprocessing.tokenizer
    autoencoder = MultimodalAutoencoder(
        model,
        image_shape=preprocessing.image_shape,
        vocabulary_size=tokenizer.vocabulary_size if tokenizer else 0,
        latent_size=options.latent_size,
        variational=options.variational,
        decode_all=options.decode_all,
        noise=options.noise,
    )
    device = torch.device("cuda" if config.compute.accelerator != "cpu" and torch.cuda.is_available() else "cpu")
    # What the encoders see here is noisy: it must not shape what they are normalised by later.
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    autoencoder.to(device).train()
    optim = config.optim.model_copy(update={"learning_rate": options.learning_rate})
    groups = rate_groups(autoencoder, options.learning_rate)
    optimizer = torch.optim.AdamW(groups, weight_decay=optim.weight_decay)
    schedule = make_schedule(optimizer, optim, steps=options.epochs * data.n_batches)
    for epoch in range(options.epochs):
        for batch in _batches(data, config, epoch):
            parts = autoencoder(batch.to(device))
            total = _weighed(parts, config)
            if not torch.isfinite(total):
                where = f"pretraining epoch {epoch}"
                raise TrainingError(where, "the loss is not finite", expected="a smaller pretrain.learning_rate")
            optimizer.zero_grad()
            torch.autograd.backward(total)
            nn.utils.clip_grad_norm_(autoencoder.parameters(), optim.clip_norm or math.inf)
            optimizer.step()
            schedule.step()
    autoencoder.cpu().eval()
    errors = reconstruction_errors(autoencoder, data)
    log.info("pretrained for %d epochs: %s", options.epochs, ", ".join(f"{k} {v:.4g}" for k, v in errors.items()))
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(before[name])
    model.zero_grad(set_to_none=True)
    model.train()
    return errors


def reconstruction_errors(autoencoder: MultimodalAutoencoder, data: CaseData) -> dict[str, float]:
    """Return how far what comes back is from what went in, of the validation cases that have both.

    Parameters
    ----------
    autoencoder : MultimodalAutoencoder
        In eval mode.
    data : CaseData

    Returns
    -------
    dict of str to float
        ``image``, the mean squared error a voxel, and ``text``, the mean negative log-likelihood a word in nats, each
        from all modalities; ``image_from_text`` and ``text_from_image``, from the other one alone; and
        ``image_of_mean`` and ``text_of_frequencies``, of the training cases' mean image and word frequencies, which
        know nothing of the case. Those that the model does not read, or no case has, are left out.
    """
    names, samples = autoencoder.modalities, data.validation_set.samples
    mean_image, frequencies = _prior(autoencoder, data)
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}

    def add(key: str, each: Tensor) -> None:
        sums[key] = sums.get(key, 0.0) + float(each.sum())
        counts[key] = counts.get(key, 0) + len(each)

    with torch.inference_mode():
        for start in range(0, len(samples), CASES_AT_ONCE):
            batch = data.collate(samples[start : start + CASES_AT_ONCE])
            both = torch.stack([batch.present[:, batch.modalities.index(name)] for name in names], dim=1).all(dim=1)
            words = word_counts(batch, autoencoder.vocabulary_size) if "text" in names else None
            for name in names:
                known = both if name == "image" or words is None else both & (words.sum(dim=1) > 0)
                for key, given in _questions(name, names):
                    made = autoencoder.reconstruct(batch, given=given)[name]
                    add(key, _error(batch, made, words if name == "text" else None)[known])
                if name == "image":
                    add("image_of_mean", _error(batch, mean_image.expand_as(batch.image), None)[known])
                else:
                    add("text_of_frequencies", _error(batch, frequencies.expand(len(both), -1), words)[known])
    return {key: sums[key] / counts[key] for key in sums if counts[key]}


def _questions(name: str, names: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    """Return what a modality is reconstructed from: all, and each other one alone."""
    return [(name, names), *((f"{name}_from_{other}", (other,)) for other in names if other != name)]


def _error(batch: Batch, made: Tensor, words: Tensor | None) -> Tensor:
    if words is None:
        return (made - batch.image).square().flatten(start_dim=1).mean(dim=1)
    return -(words * made).sum(dim=1) / words.sum(dim=1).clamp(min=1)


def _prior(autoencoder: MultimodalAutoencoder, data: CaseData) -> tuple[Tensor, Tensor]:
    """Return the training cases' mean image, and the logarithms of their word frequencies, one more of each word."""
    samples: Sequence[Sample] = data.train_set.samples
    image, n_images = torch.zeros(()), 0
    words = torch.zeros(max(autoencoder.vocabulary_size, 1))
    for start in range(0, len(samples), CASES_AT_ONCE):
        batch = data.collate(samples[start : start + CASES_AT_ONCE])
        if "image" in autoencoder.modalities:
            image = image + batch.image.sum(dim=0)  # an absent one is zeros
            n_images += int(batch.present[:, batch.modalities.index("image")].sum())
        if "text" in autoencoder.modalities:
            words = words + word_counts(batch, autoencoder.vocabulary_size).sum(dim=0)
    words[2:] += 1
    return image / max(n_images, 1), (words / words.sum()).clamp(min=1e-12).log()


def _batches(data: CaseData, config: RunConfig, epoch: int) -> Iterator[Batch]:
    sampler = EpochSampler(len(data.train_set), seed=config.seed)
    sampler.set_epoch(epoch)
    for turns in EpochBatches(sampler, data.batch_size):
        yield augment_batch(data.collate([data.train_set[turn] for turn in turns]), config.augment)


def _weighed(parts: dict[str, Tensor], config: RunConfig) -> Tensor:
    options = config.pretrain
    weights = {"image": options.image_weight, "text": options.text_weight}
    weights["divergence"] = options.divergence_weight if options.variational else 0.0
    return torch.stack([weights[name] * part for name, part in parts.items()]).sum()
