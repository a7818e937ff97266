"""What an encoder gives of images before anything is learnt here: for probes of weights that others trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medfuse.errors import UsageError
from medfuse.models.box_statistics import BoxStatistics
from medfuse.models.image_encoders import IMAGE_ENCODERS, ImageEncoder
from medfuse.models.transfer import KeyReport, load_weights
from medfuse.progress import Progress
from medfuse.registry import build, with_entry_points

__all__ = ["box_statistics", "frozen_features"]

Images = NDArray[np.float32]


def frozen_features(
    images: Images, options: Mapping[str, Any], *, weights: Path | None = None, seed: int = 0, progress: Progress = iter
) -> tuple[NDArray[np.float64], KeyReport | None]:
    """Return the mean of an encoder's last feature map over each image.

    Parameters
    ----------
    images : ndarray, shape (n, C, I, J, K), float32, in [0, 1]
    options : mapping
        ``name`` of an image encoder and its options, as in ``model.image_encoder``.
    weights : Path, optional
        See `medfuse.models.transfer.load_weights`; without it the encoder is as it starts out.
    seed : int
        Of the weights that it starts out with.
    progress : callable
        Wraps the images.

    Returns
    -------
    features : ndarray, shape (n, D)
    report : KeyReport or None
        What became of every name of the weights.

    Raises
    ------
    ConfigError
        If there is no such encoder, or the weights do not fit it.
    UsageError
        If there are no images.

    Examples
    --------
    >>> images = np.zeros((2, 1, 16, 16, 16), np.float32)
    >>> features, report = frozen_features(images, {"name": "small_cnn", "widths": [4, 8]})
    >>> features.shape, report
    ((2, 8), None)
    """
    if not len(images):
        raise UsageError("frozen_features", "found no images", expected="one or more")
    encoders = with_entry_points(IMAGE_ENCODERS, group="medfuse.image_encoders")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        given = {"in_channels": images.shape[1], "image_size": images.shape[2:]}
        encoder: ImageEncoder = build(encoders, options, where="model.image_encoder", given=given)
    report = load_weights(encoder, weights) if weights else None
    encoder.eval()
    with torch.no_grad():
        each = progress([torch.from_numpy(image)[None] for image in images])
        rows = [encoder.feature_map(image).mean(dim=(2, 3, 4)).numpy() for image in each]
    return np.concatenate(rows).astype(np.float64), report


def box_statistics(images: Images) -> NDArray[np.float64]:
    """Return the fixed statistics of images; see `medfuse.models.box_statistics.BoxStatistics`.

    Parameters
    ----------
    images : ndarray, shape (n, C, I, J, K), float32, in [0, 1]

    Returns
    -------
    ndarray, shape (n, S)
    """
    size: tuple[int, int, int] = images.shape[2:]
    described: torch.Tensor = BoxStatistics(images.shape[1], size)(torch.from_numpy(images))
    statistics: NDArray[np.float64] = described.double().numpy()
    return statistics
