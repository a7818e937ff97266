"""One batch over several processes: what makes their result that of a single process with the whole batch.

Each process holds an equal piece of every batch, in the order of the processes, computes the loss of the whole
batch from outputs that were gathered, and gets the mean of all gradients, as DistributedDataParallel gives it.
Without a process group everything here gives its argument back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from medfuse.tensors import Batch, LocalFeatures, ModelOutput

__all__ = ["first_row", "gather_output", "gather_rows", "global_sum", "world_size"]


def world_size() -> int:
    """Return how many processes share a batch.

    Examples
    --------
    >>> world_size()
    1
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def first_row(n_rows: int) -> int:
    """Return where this process's rows start in the whole batch.

    Parameters
    ----------
    n_rows : int
        That each process holds.

    Examples
    --------
    >>> first_row(16)
    0
    """
    return dist.get_rank() * n_rows if world_size() > 1 else 0


def global_sum(tensor: Tensor) -> Tensor:
    """Return the sum over all processes, with a graph.

    Parameters
    ----------
    tensor : Tensor
        Of equal shape on every process.

    Examples
    --------
    >>> global_sum(torch.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    return tensor if world_size() == 1 else _apply(_Sum, tensor)


def gather_rows(tensor: Tensor) -> Tensor:
    """Return the rows of all processes, in their order, with a graph.

    Parameters
    ----------
    tensor : Tensor, shape (B, ...)
        Of equal shape on every process.

    Returns
    -------
    Tensor, shape (world_size * B, ...)

    Examples
    --------
    >>> gather_rows(torch.tensor([[1.0], [2.0]])).tolist()
    [[1.0], [2.0]]
    """
    if world_size() == 1:
        return tensor
    if tensor.dtype == torch.bool:
        return gather_rows(tensor.to(torch.uint8)).bool()
    return _apply(_Gather, tensor)


def gather_output(output: ModelOutput, batch: Batch) -> tuple[ModelOutput, Batch]:
    """Return the output and the labels of the whole batch, for its loss.

    Every process then computes the same loss; the mean of their gradients is the gradient of that loss.

    Parameters
    ----------
    output : ModelOutput
    batch : Batch
        Of as many cases on every process.

    Returns
    -------
    ModelOutput
        Of all cases.
    Batch
        Labels and presence of all cases; what the model read stays that of this process.
    """
    if world_size() == 1:
        return output, batch
    whole = ModelOutput(
        logits=_gathered(output.logits),
        embeddings=_gathered(output.embeddings),
        present=gather_rows(output.present),
        auxiliary={name: _gathered(logits) for name, logits in output.auxiliary.items()},
        local={name: _gathered_parts(parts) for name, parts in output.local.items()},
        unscaled=_gathered(output.unscaled),
    )
    labels = replace(
        batch,
        present=gather_rows(batch.present),
        targets=_gathered(batch.targets),
        target_mask=_gathered(batch.target_mask),
    )
    return whole, labels


def _gathered(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gather several tensors of shape (B, n) or (B,) and one type at the cost of one."""
    if not tensors:
        return {}
    widths = [tensor[0].numel() for tensor in tensors.values()]
    flat = gather_rows(torch.cat([tensor.reshape(len(tensor), -1) for tensor in tensors.values()], dim=1))
    parts = torch.split(flat, widths, dim=1)
    return {
        name: part.reshape(-1, *tensor.shape[1:]) for (name, tensor), part in zip(tensors.items(), parts, strict=True)
    }


def _gathered_parts(parts: LocalFeatures) -> LocalFeatures:
    """Gather local features, of which each process may have another number a case."""
    n_parts = torch.tensor(parts.mask.shape[1], device=parts.mask.device)
    dist.all_reduce(n_parts, op=dist.ReduceOp.MAX, group=_own_group())
    missing = int(n_parts) - parts.mask.shape[1]
    vectors, mask = F.pad(parts.vectors, (0, 0, 0, missing)), F.pad(parts.mask, (0, missing))
    return LocalFeatures(gather_rows(vectors), gather_rows(mask))


class _Sum(Function):
    """What one process adds reaches the loss of each: its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        return _summed(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        return _summed(gradient)


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.n_rows = len(tensor)
        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(world_size())]
        dist.all_gather(parts, tensor.contiguous(), group=_own_group())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        start = first_row(ctx.n_rows)
        return _summed(gradient)[start : start + ctx.n_rows]


def _apply(function: type[Function], tensor: Tensor) -> Tensor:
    result: Tensor = function.apply(tensor)  # type: ignore[no-untyped-call]
    return result


def _summed(tensor: Tensor) -> Tensor:
    total = tensor.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=_own_group())
    return total


def _own_group() -> dist.ProcessGroup:
    """Return a group beside DistributedDataParallel's, whose messages cross ours in an order that varies."""
    world = dist.group.WORLD
    if world not in _groups:
        _groups.clear()
        _groups[world] = dist.new_group()
    return _groups[world]


_groups: dict[Any, dist.ProcessGroup] = {}
