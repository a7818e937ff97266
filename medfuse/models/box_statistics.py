"""Fixed, differentiable statistics of a whole image box: how much, how spread, how rough."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["BoxStatistics", "RunningNorm"]

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
    grid: Tensor

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
        axes = [torch.arange(n) - (n - 1) / 2 for n in image_size]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(start_dim=1)
        for name, value in (("shell", shell.flatten()), ("shares", counts / sizes[shell]), ("grid", grid)):
            self.register_buffer(name, value, persistent=False)
        self.n_shells = len(sizes)
        self.size = in_channels * (6 + len(_LEVELS) + self.n_shells)

    def forward(self, image: Tensor) -> Tensor:
        """Return statistics, shape (B, size), of images of shape (B, C, I, J, K) with values in [0, 1]."""
        n, c = image.shape[:2]
        box = image.flatten(end_dim=1).float()
        parts = (self._moments(box), _edges(box), _levels(box), self._spectrum(box))
        return torch.cat(parts, dim=1).reshape(n, c * (self.size // c))

    def _moments(self, box: Tensor) -> Tensor:
        # The variance is a small difference of large numbers: in single precision it would hang on the batch.
        flat, grid = box.flatten(start_dim=1).double(), self.grid.double()
        mass = flat.sum(dim=1, keepdim=True).clamp(min=_SMALLEST)
        weight = flat / mass
        centre = weight @ grid.T
        second = torch.einsum("bv,iv,jv->bij", weight, grid, grid)
        variances: Tensor = torch.linalg.eigvalsh(second - centre[:, :, None] * centre[:, None])
        return torch.cat([mass, variances.clamp(min=_SMALLEST)], dim=1).log().float()

    def _spectrum(self, box: Tensor) -> Tensor:
        power = torch.fft.rfftn(box, dim=(1, 2, 3)).abs().square() * self.shares
        spectrum: Tensor = power.new_zeros(len(box), self.n_shells).index_add(1, self.shell, power.flatten(start_dim=1))
        smoothed: Tensor = (spectrum + _SMALLEST).log()
        return smoothed


def _edges(box: Tensor) -> Tensor:
    # Central differences: a flip turns their sign and nothing else.
    slopes = [(box.roll(1, dims=axis) - box.roll(-1, dims=axis)) / 2 for axis in (1, 2, 3)]
    steps = [box - box.roll(1, dims=axis) for axis in (1, 2, 3)]
    # The root of zero has no finite slope, and most of a box is empty.
    surface = (torch.stack(slopes).square().sum(dim=0) + 1e-12).sqrt().sum(dim=(1, 2, 3))
    energy = torch.stack(steps).square().sum(dim=(0, 2, 3, 4))
    return torch.stack([surface, energy], dim=1).clamp(min=_SMALLEST).log()


def _levels(box: Tensor) -> Tensor:
    shares = [torch.sigmoid((box - level) / _LEVEL_WIDTH).mean(dim=(1, 2, 3)) for level in _LEVELS]
    return torch.stack(shares, dim=1).clamp(min=1e-4).log()


class RunningNorm(nn.Module):
    """Bring features to mean 0 and variance 1 by all that was seen in training, not by the batch at hand.

    Batch statistics of 32 cases are noise to features whose small differences count.

    Parameters
    ----------
    size : int
        Of the feature vector.

    Examples
    --------
    >>> norm = RunningNorm(1)
    >>> _ = norm(torch.tensor([[1.0], [3.0]]))
    >>> norm.eval()(torch.tensor([[4.0]]))
    tensor([[2.]])
    """

    mean: Tensor
    square: Tensor
    count: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("square", torch.ones(size))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Return normalised features, shape (B, size); in training they are counted first."""
        if self.training and len(features):
            seen = features.detach()
            self.count += len(seen)
            weight = len(seen) / float(self.count)
            self.mean.lerp_(seen.mean(dim=0), weight)
            self.square.lerp_(seen.square().mean(dim=0), weight)
        variance = (self.square - self.mean.square()).clamp(min=1e-6)
        return (features - self.mean) / variance.sqrt()
