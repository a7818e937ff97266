"""Prepared samples -> vectors that can be compared: a model's embeddings, and features that need no learning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from medfuse.data import collate
from medfuse.errors import DataError
from medfuse.inference.bundle import Bundle
from medfuse.models.box_statistics import BoxStatistics
from medfuse.tensors import Sample
from medfuse.types import Array, CaseId, ReportText

__all__ = ["Embedded", "describe_without_learning", "embed_samples", "embed_texts"]

BATCH_SIZE = 32


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Embeddings of several cases.

    Parameters
    ----------
    unit : dict of str to ndarray of shape (n, E)
        By modality, of unit length; zeros where a case lacks it.
    unscaled : dict of str to ndarray of shape (n, E)
        As the fusion reads them.
    """

    unit: dict[str, Array]
    unscaled: dict[str, Array]


def embed_samples(bundle: Bundle, samples: Sequence[Sample]) -> Embedded:
    """Embed samples by each of their modalities.

    Parameters
    ----------
    bundle : Bundle
    samples : sequence of Sample
        Prepared by the bundle's preprocessing; at least one.

    Returns
    -------
    Embedded
    """
    preprocessing = bundle.preprocessing
    outputs = []
    with torch.inference_mode():
        for start in range(0, len(samples), BATCH_SIZE):
            batch = collate(
                samples[start : start + BATCH_SIZE],
                modalities=preprocessing.modalities,
                image_shape=preprocessing.image_shape,
            )
            outputs.append(bundle.model(batch))

    def stacked(field: str) -> dict[str, Array]:
        return {
            name: torch.cat([getattr(output, field)[name] for output in outputs]).double().numpy()
            for name in preprocessing.modalities
        }

    return Embedded(stacked("embeddings"), stacked("unscaled"))


def embed_texts(bundle: Bundle, texts: Sequence[str]) -> Array:
    """Embed texts, such as descriptions of a class, shape (n, E), of unit length.

    Parameters
    ----------
    bundle : Bundle
        Of a model that reads text.
    texts : sequence of str
        At least one, each with sections that the model reads.

    Raises
    ------
    DataError
        If the model reads no text.
    """
    if "text" not in bundle.preprocessing.modalities:
        raise DataError("model", "found one that reads no text", expected="one with the modality text")
    samples = [
        Sample(
            CaseId(f"text-{number}", "1"),
            token_ids=bundle.preprocessing.prepare_text(ReportText(text)),
            flags=bundle.preprocessing.prepare_flags(ReportText(text)),
        )
        for number, text in enumerate(texts)
    ]
    return embed_samples(bundle, samples).unit["text"]


def describe_without_learning(samples: Sequence[Sample], *, vocabulary_size: int) -> tuple[Array, Array]:
    """Return features of images and reports that are the same before any training.

    Parameters
    ----------
    samples : sequence of Sample
        Each with an image and a text.
    vocabulary_size : int

    Returns
    -------
    tuple of ndarray, shape (n, p) and (n, vocabulary_size)
        Of the images `medfuse.models.box_statistics.BoxStatistics`; of the reports the logarithm of one more than how
        often each token occurs.

    Raises
    ------
    DataError
        If a sample lacks one of them.
    """
    images, counts = [], []
    statistics: BoxStatistics | None = None
    for sample in samples:
        if sample.image is None or sample.token_ids is None:
            raise DataError(f"case {sample.case}", "found no image or no text", expected="both")
        statistics = statistics or BoxStatistics(sample.image.shape[0], (*sample.image.shape[1:],))
        images.append(statistics(sample.image[None])[0].double().numpy())
        counts.append(torch.bincount(sample.token_ids, minlength=vocabulary_size).double().log1p().numpy())
    return np.stack(images), np.stack(counts)
