"""Learn another model's answers, with all that they say of how alike the classes are."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from medfuse.types import Target

__all__ = ["distillation_loss"]


def distillation_loss(logits: Tensor, teacher: Tensor, known: Tensor, *, target: Target, temperature: float) -> Tensor:
    """Return how far a model's softened answers are from its teacher's, the mean over the cases that it answered.

    Parameters
    ----------
    logits : Tensor, shape (B, N)
        See `medfuse.types.Target.n_outputs`.
    teacher : Tensor, shape (B, N)
        The teacher's; anything where not known.
    known : Tensor, shape (B,), bool
    target : Target
    temperature : float
        T, above 0.

    Returns
    -------
    Tensor, shape ()
        The divergence of the softened answers times T ** 2, so that its gradient keeps its size whatever T; 0 where
        both answer alike, or no case is known.

    Notes
    -----
    Source: Hinton, Vinyals and Dean 2015, Distilling the Knowledge in a Neural Network, section 2. Their cross-entropy
    is this divergence and the teacher's entropy, which has no gradient. The threshold answers of an ordinal target
    are summed.

    Examples
    --------
    >>> import torch
    >>> target = Target("malignancy", "binary", ("negative", "positive"))
    >>> same, known = torch.tensor([[2.0]]), torch.ones(1, dtype=torch.bool)
    >>> float(distillation_loss(same, same, known, target=target, temperature=2.0))
    0.0
    """
    ours, theirs = logits / temperature, teacher.detach().masked_fill(~known[:, None], 0.0) / temperature
    if target.kind == "multiclass":
        log_theirs = theirs.log_softmax(dim=1)
        each = (log_theirs.exp() * (log_theirs - ours.log_softmax(dim=1))).sum(dim=1)
    else:
        above, log_above, log_below = theirs.sigmoid(), F.logsigmoid(theirs), F.logsigmoid(-theirs)
        apart = above * (log_above - F.logsigmoid(ours)) + (1 - above) * (log_below - F.logsigmoid(-ours))
        each = apart.sum(dim=1)
    kept = each.masked_fill(~known, 0.0)
    return temperature**2 * kept.sum() / known.sum().clamp(min=1)
