"""Whether a map lies where the lesion is, where somebody has drawn the lesion."""

from __future__ import annotations

import torch
from scipy import ndimage
from torch import Tensor

from medfuse.explain.faithfulness import smoothed
from medfuse.explanation_parts import TrustCheck

__all__ = ["localisation_checks"]


def localisation_checks(scores: Tensor, mask: Tensor) -> list[TrustCheck]:
    """Hold a map against the lesion's mask.

    Parameters
    ----------
    scores : Tensor, shape (I, J, K)
    mask : Tensor of bool, shape (I, J, K)
        With a voxel at least.

    Returns
    -------
    list of TrustCheck
        ``pointing``: 1 if the strongest voxel lies in the lesion, else 0; details ``distance_voxels``. ``mass_inside``:
        share of the map, without signs, inside the lesion, which passes above the lesion's share of the voxels;
        details ``volume_share`` and ``times``, their ratio.

    Notes
    -----
    Source: Zhang et al. 2018, Top-Down Neural Attention by Excitation Backprop, section 4.1 (pointing game); Arras et
    al. 2022, CLEVR-XAI, eq. 3 (relevance mass).

    Examples
    --------
    >>> scores, mask = torch.zeros(8, 8, 8), torch.zeros(8, 8, 8, dtype=torch.bool)
    >>> scores[2:4, 2:4, 2:4], mask[1:5, 1:5, 1:5] = 1.0, True
    >>> [round(check.value, 2) for check in localisation_checks(scores, mask)]
    [1.0, 0.82]
    """
    shown = smoothed(scores).abs()
    peak = torch.unravel_index(shown.argmax(), shown.shape)
    hit = bool(mask[peak]) and bool(shown.any())
    distance = float(ndimage.distance_transform_edt(~mask.numpy())[tuple(int(at) for at in peak)])
    volume = float(mask.float().mean())
    mass = float(shown[mask].sum() / shown.sum().clamp(min=1e-12))
    details = {"volume_share": volume, "times": mass / volume}
    return [
        TrustCheck("pointing", float(hit), hit, 1.0, {"distance_voxels": distance}),
        TrustCheck("mass_inside", mass, mass > volume, volume, details),
    ]
