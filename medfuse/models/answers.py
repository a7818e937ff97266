"""What the logits of a target say: of each class, and of the last class against all others."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from medfuse.types import Target

__all__ = ["class_logits", "last_class_logit"]

SMALLEST_GAP = 1e-6
"""Between two thresholds of an ordinal target, in logits: a class between equal ones would have no probability."""


def class_logits(logits: Tensor, target: Target) -> Tensor:
    """Return logits whose softmax is the probability of each class; of a binary target, those of its positive class.

    Parameters
    ----------
    logits : Tensor, shape (B, N)
        Of a head. Those of an ordinal target fall from left to right: of the answer lying above the first class, above
        the second, and so on.
    target : Target

    Returns
    -------
    Tensor, shape (B, 1) if binary, else (B, classes)

    Notes
    -----
    Source: McCullagh 1980, Regression Models for Ordinal Data, section 2: the probability of an ordinal class is the
    difference of two neighbouring cumulative ones; written so that no difference of two nearly equal numbers is taken.

    Examples
    --------
    >>> grade = Target("grade", "ordinal", ("low", "middle", "high"))
    >>> [round(p, 3) for p in class_logits(torch.tensor([[1.0, -1.0]]), grade).softmax(dim=1)[0].tolist()]
    [0.269, 0.462, 0.269]
    """
    if target.kind != "ordinal":
        return logits
    above, below = logits[:, :-1], logits[:, 1:]
    gap = (below - above).clamp(max=-SMALLEST_GAP)
    between = F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(gap))
    return torch.cat([F.logsigmoid(-logits[:, :1]), between, F.logsigmoid(logits[:, -1:])], dim=1)


def last_class_logit(logits: Tensor, target: Target) -> Tensor:
    """Return the log-odds of the last class against all others, shape (B,).

    Parameters
    ----------
    logits : Tensor, shape (B, N)
        Of a head.
    target : Target

    Examples
    --------
    >>> round(float(last_class_logit(torch.zeros(1, 3), Target("t", "multiclass", ("a", "b", "c")))), 4)  # 1 to 2
    -0.6931
    """
    if target.kind == "multiclass":
        return logits[:, -1] - logits[:, :-1].logsumexp(dim=1)
    return logits[:, -1]
