"""Samples -> batch: pad the tokens, stack the images, mark what is absent."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from medfuse.tensors import Batch, Sample

__all__ = ["collate"]


def collate(
    samples: Sequence[Sample],
    *,
    modalities: tuple[str, ...],
    image_shape: tuple[int, int, int, int],
    targets: Sequence[str] = (),
    token_multiple: int = 1,
) -> Batch:
    """Stack samples into a batch.

    Parameters
    ----------
    samples : sequence of Sample
        At least one.
    modalities : tuple of str
        Of the model; a modality that it does not read is left out.
    image_shape : tuple of int
        (C, I, J, K), for cases without an image.
    targets : sequence of str
        Names of the targets to stack.
    token_multiple : int
        L is a multiple of it, so that a text's answer does not change with the lengths of those beside it.

    Returns
    -------
    Batch

    Examples
    --------
    >>> from medfuse.types import CaseId
    >>> short = Sample(CaseId("S1", "1"), token_ids=torch.tensor([5]), targets={"grade": 1})
    >>> long = Sample(CaseId("S2", "1"), token_ids=torch.tensor([5, 6]))
    >>> batch = collate([short, long], modalities=("text",), image_shape=(1, 2, 2, 2), targets=["grade"])
    >>> batch.token_mask.tolist(), batch.target_mask["grade"].tolist()
    ([[True, False], [True, True]], [True, False])
    >>> collate([short], modalities=("text",), image_shape=(1, 2, 2, 2), token_multiple=4).token_ids.tolist()
    [[5, 0, 0, 0]]
    """
    absent_image, absent_text = torch.zeros(image_shape), torch.zeros(1, dtype=torch.int64)
    has = {
        "image": [s.image is not None for s in samples],
        "text": [s.token_ids is not None for s in samples],
        "table": [s.table is not None for s in samples],
    }
    n_columns = next((len(s.table) for s in samples if s.table is not None), 0)
    n_flags = next((len(s.flags) for s in samples if s.flags is not None), 0)
    tokens = [absent_text if s.token_ids is None else s.token_ids for s in samples]
    mask = [torch.full((len(t),), known) for t, known in zip(tokens, has["text"], strict=True)]
    more = (0, -max(map(len, tokens)) % token_multiple)
    n_draws = next((len(s.draws) for s in samples if s.draws is not None), 0)
    return Batch(
        cases=tuple(s.case for s in samples),
        modalities=modalities,
        image=torch.stack([absent_image if s.image is None else s.image for s in samples]),
        token_ids=F.pad(pad_sequence(tokens, batch_first=True), more),
        token_mask=F.pad(pad_sequence(mask, batch_first=True), more),
        flags=torch.stack([torch.zeros(n_flags) if s.flags is None else s.flags for s in samples]),
        present=torch.tensor([[has[m][b] for m in modalities] for b in range(len(samples))]),
        targets={name: torch.tensor([s.targets.get(name, 0) for s in samples]) for name in targets},
        target_mask={name: torch.tensor([name in s.targets for s in samples]) for name in targets},
        image_features=_image_features(samples),
        table=torch.stack([torch.zeros(n_columns) if s.table is None else s.table for s in samples]),
        draws=torch.stack([torch.zeros(n_draws) if s.draws is None else s.draws for s in samples]),
    )


def _image_features(samples: Sequence[Sample]) -> Tensor:
    """Stack what is known of the images, zeros where there is none; of no case unless of all."""
    known = [s.image_features for s in samples if s.image is not None]
    first = known[0] if known else None
    if first is None or any(features is None for features in known):
        return torch.zeros(len(samples), 0)
    absent = torch.zeros_like(first)
    return torch.stack([absent if s.image is None or s.image_features is None else s.image_features for s in samples])
