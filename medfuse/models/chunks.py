"""Large batches in little memory: encode piece by piece, judge all at once, encode again for the gradients.

A contrastive loss is only as good as the cases it tells apart, but the activations of a 3D encoder for as many cases
do not fit. Here only one piece's are held: the loss of the whole batch is computed from the outputs of all pieces,
and its gradient goes back through one piece after the other, each encoded a second time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from medfuse.tensors import Batch, LocalFeatures, ModelOutput

__all__ = ["forward_in_chunks"]


def forward_in_chunks(model: nn.Module, batch: Batch, n_chunks: int) -> ModelOutput:
    """Return a model's output for a batch that is encoded in pieces, of whose activations one piece's are held.

    Loss, gradients and running statistics are, to rounding, those of the pieces encoded one after the other with all
    activations kept. Batch norms take the statistics of a piece, as they do where gradients are accumulated.

    Parameters
    ----------
    model : module
        From a Batch to a ModelOutput.
    batch : Batch
    n_chunks : int
        Pieces; fewer where they would hold a single case.

    Notes
    -----
    Source: Gao et al. 2021, Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup, section 3.2; the
    same as open_clip's ``--accum-freq``. The second encoding is that of activation checkpointing: Chen et al. 2016,
    Training Deep Nets with Sublinear Memory Cost.
    """
    n_chunks = min(n_chunks, len(batch.present) // 2)
    if n_chunks < 2:
        output: ModelOutput = model(batch)
        return output
    pieces = [_rows(batch, rows) for rows in torch.arange(len(batch.present)).tensor_split(n_chunks)]
    if not torch.is_grad_enabled():
        return _joined([model(piece) for piece in pieces])
    with set_checkpoint_early_stop(False):  # the second encoding must end in the state that the first one ended in
        return _joined([_encoded_twice(model, piece) for piece in pieces])


def _encoded_twice(model: nn.Module, piece: Batch) -> ModelOutput:
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _buffers_as(model, before)

    output: ModelOutput = checkpoint(model, piece, use_reentrant=False, context_fn=contexts)
    return output


@contextmanager
def _buffers_as(model: nn.Module, values: Mapping[str, Tensor]) -> Iterator[None]:
    """Let running statistics be what they were, so that they are neither counted twice nor read too late."""
    held = [(model.get_submodule(name.rpartition(".")[0]), name) for name in values]
    now = dict(model.named_buffers())
    for module, name in held:
        module._buffers[name.rpartition(".")[2]] = values[name].clone()
    try:
        yield
    finally:
        for module, name in held:
            module._buffers[name.rpartition(".")[2]] = now[name]


def _rows(batch: Batch, rows: Tensor) -> Batch:
    """Return some cases of a batch."""
    first, last = int(rows[0]), int(rows[-1]) + 1
    kept: dict[str, object] = {"cases": batch.cases[first:last]}
    for item in fields(batch):
        value = getattr(batch, item.name)
        if isinstance(value, Tensor):
            kept[item.name] = value[first:last]
        elif isinstance(value, Mapping):
            kept[item.name] = {name: tensor[first:last] for name, tensor in value.items()}
    return replace(batch, **kept)  # type: ignore[arg-type]  # the dict holds fields of Batch only


def _joined(outputs: Sequence[ModelOutput]) -> ModelOutput:
    first = outputs[0]
    weights = [output.fusion_weights for output in outputs if output.fusion_weights is not None]
    return ModelOutput(
        logits=_stacked([output.logits for output in outputs]),
        embeddings=_stacked([output.embeddings for output in outputs]),
        present=torch.cat([output.present for output in outputs]),
        auxiliary={name: _stacked([output.auxiliary[name] for output in outputs]) for name in first.auxiliary},
        fusion_weights=torch.cat(weights) if weights else None,
        local={name: _stacked_parts([output.local[name] for output in outputs]) for name in first.local},
        unscaled=_stacked([output.unscaled for output in outputs]),
    )


def _stacked(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _stacked_parts(parts: Sequence[LocalFeatures]) -> LocalFeatures:
    """Stack local features, of which a piece without the modality has fewer a case."""
    most = max(part.mask.shape[1] for part in parts)
    return LocalFeatures(
        torch.cat([F.pad(part.vectors, (0, 0, 0, most - part.mask.shape[1])) for part in parts]),
        torch.cat([F.pad(part.mask, (0, most - part.mask.shape[1])) for part in parts]),
    )
