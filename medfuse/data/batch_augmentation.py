"""What a whole batch of images undergoes at once, on the device that trains."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from medfuse.config import AugmentConfig
from medfuse.tensors import Batch

__all__ = ["N_DRAWS", "augment_batch", "changes_batches"]

N_DRAWS = 16
"""Numbers that a case's changes hang on: angles, scales, shifts, brightness, contrast, noise, its seed, the cutout."""

SEEDS = 2**24


def changes_batches(config: AugmentConfig) -> bool:
    """Tell whether any change of whole batches is asked for.

    Examples
    --------
    >>> changes_batches(AugmentConfig()), changes_batches(AugmentConfig(noise=0.1))
    (False, True)
    """
    names = ("rotate_degrees", "scale", "translate", "brightness", "contrast", "noise", "cutout")
    return any(getattr(config, name) > 0 for name in names)


def augment_batch(batch: Batch, config: AugmentConfig) -> Batch:
    """Change the images of a batch by its draws.

    Parameters
    ----------
    batch : Batch
        Its ``draws``, shape (B, N_DRAWS), in [0, 1), decide all; a batch without draws comes back as it is.
    config : AugmentConfig

    Returns
    -------
    Batch
        Images within [0, 1]; those of cases without one stay zeros.
    """
    if not batch.draws.shape[1] or not changes_batches(config):
        return batch
    draws = batch.draws
    image = batch.image
    if config.rotate_degrees or config.scale or config.translate:
        image = _moved(image, draws[:, :9], config)
    image = _recoloured(image, draws[:, 9:13], config)
    if config.cutout:
        image = _cut(image, draws[:, 13:16], edge=config.cutout)
    if "image" in batch.modalities:
        has = batch.present[:, batch.modalities.index("image")]
        image = torch.where(has[:, None, None, None, None], image.clamp(0.0, 1.0), batch.image)
    return replace(batch, image=image, image_features=image.new_zeros(len(image), 0))


def _moved(image: Tensor, draws: Tensor, config: AugmentConfig) -> Tensor:
    """Rotate about the three axes, scale and shift; zeros come from outside."""
    signed = 2 * draws - 1
    angles = signed[:, :3] * math.radians(config.rotate_degrees)
    scales = 1 + signed[:, 3:6] * config.scale
    shifts = signed[:, 6:9] * 2 * config.translate  # the grid runs from -1 to 1
    sin, cos = angles.sin(), angles.cos()
    zero, one = torch.zeros_like(sin[:, 0]), torch.ones_like(sin[:, 0])
    turns = (
        ((one, zero, zero), (zero, cos[:, 0], -sin[:, 0]), (zero, sin[:, 0], cos[:, 0])),
        ((cos[:, 1], zero, sin[:, 1]), (zero, one, zero), (-sin[:, 1], zero, cos[:, 1])),
        ((cos[:, 2], -sin[:, 2], zero), (sin[:, 2], cos[:, 2], zero), (zero, zero, one)),
    )
    matrix = torch.diag_embed(scales)
    for rows in turns:
        matrix = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1) @ matrix
    theta = torch.cat([matrix, shifts[:, :, None]], dim=2)
    grid = F.affine_grid(theta, list(image.shape), align_corners=False)
    mode = "bilinear" if config.interpolation == "linear" else "nearest"
    return F.grid_sample(image, grid, mode=mode, padding_mode="zeros", align_corners=False)


def _recoloured(image: Tensor, draws: Tensor, config: AugmentConfig) -> Tensor:
    signed = (2 * draws[:, :2] - 1)[:, :, None, None, None, None]
    changed = image
    if config.contrast:
        middle = changed.mean(dim=(1, 2, 3, 4), keepdim=True)
        changed = (changed - middle) * (1 + signed[:, 1] * config.contrast) + middle
    if config.brightness:
        changed = changed + signed[:, 0] * config.brightness
    if config.noise:
        spread = draws[:, 2][:, None, None, None, None] * config.noise
        changed = changed + spread * torch.stack([_noise(image[0], float(draw)) for draw in draws[:, 3]])
    return changed


def _noise(like: Tensor, draw: float) -> Tensor:
    """Return one case's noise, drawn on the CPU so that every device trains on the same."""
    generator = torch.Generator().manual_seed(int(draw * SEEDS))
    return torch.randn(like.shape, generator=generator).to(like)


def _cut(image: Tensor, draws: Tensor, *, edge: float) -> Tensor:
    """Set a block to 0."""
    mask = torch.ones_like(image[:, :1])
    for axis, n in enumerate(image.shape[2:]):
        length = max(int(edge * n), 1)
        first = (draws[:, axis] * (n - length + 1)).long()
        place = torch.arange(n, device=image.device)
        inside = (place >= first[:, None]) & (place < first[:, None] + length)
        view = [len(image), 1, 1, 1, 1]
        view[axis + 2] = n
        mask = mask * inside.view(view)
    return image * (1 - mask)
