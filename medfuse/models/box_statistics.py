"""Fixed, differentiable statistics of a whole image box: how much, how spread, how rough."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["BoxStatistics"]

_LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
_LEVEL_WIDTH = 0.03
_SMALLEST = 1e-3
"""Below this, logarithms would speak of noise."""


class BoxStatistics(nn.Module):
    """Describe a box by numbers that no turn by right angles and no flip of it changes.

    Of each channel: the sum of its values, the variances along its three principal axes, the sum of its
    gradient and of the gradient's square, the share of voxels above five levels, and the power spectrum
    averaged over directions; all as logarithms. A small CNN learns such global properties only from more
    cases than a cohort of lesions has (docs/log.md).

    Parameters
    ----------
    in_channels : int
        C.
    image_size : tuple of int
        (I, J, K).

    Attributes
    ----------
    size : int
        How many statistics there are.

    Notes
    -----
    Source: Hu 1962, Visual pattern recognition by moment invariants (central moments); Zwanenburg et al. 2020,
    The Image Biomarker Standardisation Initiative (volume, surface and principal axes describe shape).

    Examples
    --------
    >>> box = torch.rand(2, 1, 8, 6, 4)
    >>> statistics = BoxStatistics(1, (8, 6, 4))
    >>> statistics(box).shape == (2, statistics.size)
    True
    >>> torch.allclose(statistics(box), statistics(box.flip(2)), atol=1e-3)
    True
    """

    shell: Tensor
    shares: Tensor

    def __init__(self, in_channels: int, image_size: tuple[int, int, int]) -> None:
        super().__init__()
        # The box is real: half of its spectrum holds all, and what it leaves out counts twice.
        lines = [torch.fft.fftfreq(n) for n in image_size[:2]] + [torch.fft.rfftfreq(image_size[2])]
        radius = torch.stack(torch.meshgrid(*lines, indexing="ij")).norm(dim=0)
        # Cycles per voxel times the shortest edge: shells of equal width up to that edge's Nyquist frequency.
        shell = (radius * min(image_size)).round().long().clamp(max=min(image_size) // 2)
        counts = torch.full_like(radius, 2.0)
        counts[..., 0] = 1.0
        if image_size[2] % 2 == 0:
            counts[..., -1] = 1.0
        sizes = torch.bincount(shell.flatten(), weights=counts.flatten())
        for name, value in (("shell", shell.flatten()), ("shares", counts / sizes[shell])):
            self.register_buffer(name, value, persistent=False)
        self.n_shells = len(sizes)
        self.size = in_channels * (6 + len(_LEVELS) + self.n_shells)

    def forward(self, image: Tensor) -> Tensor:
        """Return statistics, shape (B, size), of images of shape (B, C, I, J, K) with values in [0, 1]."""
        n, c = image.shape[:2]
        if not n:  # of no box there is no Fourier transform
            return image.new_zeros(0, self.size)
        box = image.flatten(end_dim=1).float()
        parts = (self.moments(box), _edges(box), _levels(box), self.spectrum(box))
        return torch.cat(parts, dim=1).reshape(n, c * (self.size // c))

    def moments(self, box: Tensor) -> Tensor:
        """Return the logarithms of sum and three variances, shape (B, 4), of boxes of shape (B, I, J, K)."""
        # The variance is a small difference of large numbers: in single precision it would hang on the batch.
        # All of it lies in the sums over one axis, which are a tenth of the box.
        planes = [box.sum(dim=axis, dtype=torch.float64) for axis in (1, 2, 3)]
        lines = [planes[2].sum(dim=2), planes[2].sum(dim=1), planes[1].sum(dim=1)]
        mass = lines[0].sum(dim=1, keepdim=True).clamp(min=_SMALLEST)
        i, j, k = (torch.arange(n, dtype=torch.float64, device=box.device) - (n - 1) / 2 for n in box.shape[1:])
        centre = torch.stack([line @ at for line, at in zip(lines, (i, j, k), strict=True)], dim=1) / mass
        ii, jj, kk = (line @ at.square() for line, at in zip(lines, (i, j, k), strict=True))
        ij, ik, jk = ((planes[2] @ j) @ i, (planes[1] @ k) @ i, (planes[0] @ k) @ j)
        second = torch.stack([ii, ij, ik, ij, jj, jk, ik, jk, kk], dim=1).reshape(-1, 3, 3) / mass[..., None]
        variances: Tensor = torch.linalg.eigvalsh(second - centre[:, :, None] * centre[:, None])
        return torch.cat([mass, variances.clamp(min=_SMALLEST)], dim=1).log().float()

    def spectrum(self, box: Tensor) -> Tensor:
        """Return the logarithm of the mean power in each shell, shape (B, n_shells), of boxes (B, I, J, K)."""
        waves = torch.fft.rfftn(box, dim=(1, 2, 3))
        power = (waves.real.square() + waves.imag.square()) * self.shares
        spectrum: Tensor = power.new_zeros(len(box), self.n_shells).index_add(1, self.shell, power.flatten(start_dim=1))
        smoothed: Tensor = (spectrum + _SMALLEST).log()
        return smoothed


def _edges(box: Tensor) -> Tensor:
    # Central differences: a flip turns their sign and nothing else.
    steps = [box - box.roll(1, dims=axis) for axis in (1, 2, 3)]
    slopes = [step + step.roll(-1, dims=axis) for axis, step in zip((1, 2, 3), steps, strict=True)]
    # The root of zero has no finite slope, and most of a box is empty.
    steepness = slopes[0].square() + slopes[1].square() + slopes[2].square()
    surface = (steepness / 4 + 1e-12).sqrt().sum(dim=(1, 2, 3))
    energy = torch.stack([step.square().sum(dim=(1, 2, 3)) for step in steps]).sum(dim=0)
    return torch.stack([surface, energy], dim=1).clamp(min=_SMALLEST).log()


def _levels(box: Tensor) -> Tensor:
    shares = [torch.sigmoid((box - level) / _LEVEL_WIDTH).mean(dim=(1, 2, 3)) for level in _LEVELS]
    return torch.stack(shares, dim=1).clamp(min=1e-4).log()
