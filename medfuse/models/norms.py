"""Norms by the statistics of the whole batch, over however many processes it is spread."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.models.distributed import global_sum, world_size

__all__ = ["BatchNorm", "RunningNorm"]


class BatchNorm(nn.BatchNorm1d):
    """Batch norm of features, shape (B, D), or of maps, shape (B, D, i, j, k).

    The statistics are those of the batch of all processes (torch's SyncBatchNorm knows GPUs only). A batch with one
    value a channel has no variance: it is normalised by the running statistics.

    Parameters
    ----------
    num_features : int
        D.

    Notes
    -----
    Source: Ioffe & Szegedy 2015, Batch Normalization, algorithm 1.

    Examples
    --------
    >>> norm = BatchNorm(1)
    >>> norm(torch.tensor([[1.0], [3.0]])).round(decimals=3).tolist()
    [[-1.0], [1.0]]
    """

    def forward(self, features: Tensor) -> Tensor:
        """Return normalised features, of the same shape."""
        if not self.training:
            return self._by(features, use_batch=False)
        if world_size() == 1:
            several = features.numel() > features.shape[1]
            if several and self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
            return self._by(features, use_batch=several)
        return self._by_all(features)

    def _by(self, features: Tensor, *, use_batch: bool) -> Tensor:
        mean, variance = self.running_mean, self.running_var
        momentum = 0.1 if self.momentum is None else self.momentum
        return F.batch_norm(
            features, mean, variance, self.weight, self.bias, training=use_batch, momentum=momentum, eps=self.eps
        )

    def _by_all(self, features: Tensor) -> Tensor:
        values = features.double() if features.device.type == "cpu" else features.float()
        axes = [axis for axis in range(features.ndim) if axis != 1]
        count = torch.full((1,), features.numel() / features.shape[1], dtype=values.dtype, device=values.device)
        total = global_sum(torch.cat([values.sum(dim=axes), count]))
        n = total[-1].detach()
        if n <= 1:
            return self._by(features, use_batch=False)
        shape = [1, -1, *[1] * (features.ndim - 2)]
        centred = values - (total[:-1] / n).view(shape)
        variance = global_sum(centred.square().sum(dim=axes)) / n
        self._remember(total[:-1].detach() / n, variance.detach() * n / (n - 1))
        scale = self.weight * (variance + self.eps).rsqrt()
        normed: Tensor = centred * scale.view(shape) + self.bias.view(shape)
        return normed.to(features.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        momentum = 0.1 if self.momentum is None else self.momentum
        for kept, new in ((self.running_mean, mean), (self.running_var, variance)):
            if kept is not None:
                kept.lerp_(new.to(kept.dtype), momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's name
        """Take any number of axes behind the channels."""


class RunningNorm(nn.Module):
    """Bring features to mean 0 and variance 1 by all that was seen in training, not by the batch at hand.

    Batch statistics of 32 cases are noise to features whose small differences count.

    Parameters
    ----------
    size : int
        Of the feature vector.

    Notes
    -----
    Source: Chan et al. 1983, Algorithms for computing the sample variance, equation 2.1 (merging two samples).

    Examples
    --------
    >>> norm = RunningNorm(1)
    >>> _ = norm(torch.tensor([[1.0], [3.0]]))
    >>> norm.eval()(torch.tensor([[4.0]]))
    tensor([[2.]])
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Return normalised features, shape (B, size); in training those of all processes are counted first."""
        if self.training:
            self._count(features.detach().double())
        return (features - self.mean) / self.variance.clamp(min=1e-6).sqrt()

    def _count(self, seen: Tensor) -> None:
        total, n = torch.split(global_sum(torch.cat([seen.sum(dim=0), seen.new_full((1,), len(seen))])), [self.size, 1])
        if n == 0:
            return
        mean = total / n
        variance = global_sum((seen - mean).square().sum(dim=0)) / n
        self.count += n[0].to(self.count.dtype)
        weight = n.to(self.count.dtype) / self.count
        away = (mean - self.mean).to(weight.dtype)
        # Without the square of any large number, whose rounding would drown a small variance.
        self.variance.lerp_(variance.to(weight.dtype), weight).add_(away.square() * weight * (1 - weight))
        self.mean.add_(away * weight)
