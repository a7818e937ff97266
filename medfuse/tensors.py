"""The nouns of the line that hold tensors: sample, batch, model output.

B cases, C channels, I J K voxels, L tokens, F flags, E embedding, M modalities, N outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor

from medfuse.errors import DataError
from medfuse.types import CaseId

__all__ = ["Batch", "LocalFeatures", "ModelOutput", "NO_TABLE", "Sample", "TableShape"]


class TableShape(NamedTuple):
    """What a table holds.

    Parameters
    ----------
    n_numbers : int
    category_sizes : tuple of int
        Of each column of categories, how many there are, the unknown one among them.
    """

    n_numbers: int = 0
    category_sizes: tuple[int, ...] = ()


NO_TABLE = TableShape()


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One prepared case.

    Parameters
    ----------
    case : CaseId
    image : Tensor, shape (C, I, J, K), float32, optional
        None if the case has no image.
    token_ids : Tensor, shape (L,), int64, optional
        None if the case has no text.
    flags : Tensor, shape (F,), float32, optional
        What the text says of each label, as `medfuse.text.finding_flags`; None if the model reads none.
    targets : mapping of str to int
        Class index by target; a target with an unknown label is left out.
    doubts : tuple of str
        Why an answer on this case deserves no trust.
    draws : Tensor, shape (P,), float32, in [0, 1), optional
        What the random changes of the batch do to this case; None outside training.
    image_features : Tensor, shape (S,), float32, optional
        What the image encoder's ``describe`` gives of this very image; None if it is not known.
    table : Tensor, shape (T,), float32, optional
        As `medfuse.data.TableColumns` encodes it; None if nothing of it is known.
    """

    case: CaseId
    image: Tensor | None = None
    token_ids: Tensor | None = None
    flags: Tensor | None = None
    targets: Mapping[str, int] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    draws: Tensor | None = None
    image_features: Tensor | None = None
    table: Tensor | None = None

    def __post_init__(self) -> None:
        if self.image is None and self.token_ids is None and self.table is None:
            raise DataError(f"case {self.case}", "found neither image nor text", expected="at least one of them")
        if self.image is not None and (self.image.ndim != 4 or self.image.dtype != torch.float32):
            found = f"found an image of shape {tuple(self.image.shape)} and type {self.image.dtype}"
            raise DataError(f"case {self.case}", found, expected="(C, I, J, K) float32")
        if self.token_ids is not None and (self.token_ids.ndim != 1 or not len(self.token_ids)):
            raise DataError(f"case {self.case}", "found no tokens", expected="token ids of shape (L,), L >= 1")


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Several samples, padded and stacked. An absent modality is zeros and ``present`` is False.

    Parameters
    ----------
    cases : tuple of CaseId
    modalities : tuple of str
        Names of the M columns of ``present``.
    image : Tensor, shape (B, C, I, J, K), float32
    token_ids : Tensor, shape (B, L), int64
    token_mask : Tensor, shape (B, L), bool
        True at real tokens.
    flags : Tensor, shape (B, F), float32
        F is 0 if the model reads none.
    present : Tensor, shape (B, M), bool
    targets : mapping of str to Tensor of shape (B,), int64
        Class index; 0 where unknown.
    target_mask : mapping of str to Tensor of shape (B,), bool
        True where the label is known.
    draws : Tensor, shape (B, P), float32
        See `Sample`; P is 0 outside training.
    image_features : Tensor, shape (B, S), float32
        See `Sample`; S is 0 unless those of every image are known. Whatever changes the images drops them.
    table : Tensor, shape (B, T), float32
        T is 0 if no case has one.
    """

    cases: tuple[CaseId, ...]
    modalities: tuple[str, ...]
    image: Tensor
    token_ids: Tensor
    token_mask: Tensor
    flags: Tensor
    present: Tensor
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    target_mask: Mapping[str, Tensor] = field(default_factory=dict)
    draws: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    image_features: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    table: Tensor = field(default_factory=lambda: torch.zeros(0, 0))

    def __len__(self) -> int:
        return len(self.cases)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """Return the batch with every tensor on a device."""
        return _map(self, lambda t: t.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory, for fast copies to a GPU."""
        return _map(self, lambda t: t.pin_memory())

    def only(self, *modalities: str) -> Batch:
        """Return the batch with every other modality marked absent.

        Parameters
        ----------
        *modalities : str
            The modalities to keep.
        """
        keep = torch.tensor([m in modalities for m in self.modalities], device=self.present.device)
        return replace(self, present=self.present & keep)


def _map(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    changed: dict[str, object] = {}
    for item in fields(batch):
        value = getattr(batch, item.name)
        if isinstance(value, Tensor):
            changed[item.name] = change(value)
        elif isinstance(value, Mapping):
            changed[item.name] = {name: change(tensor) for name, tensor in value.items()}
    return replace(batch, **changed)  # type: ignore[arg-type]  # the dict holds fields of Batch only


@dataclass(frozen=True, slots=True, eq=False)
class LocalFeatures:
    """What the parts of one modality say: regions of the image, words of the text.

    Parameters
    ----------
    vectors : Tensor, shape (B, n, E)
        In the shared space, not of unit length; what stands where the mask is False means nothing.
    mask : Tensor, shape (B, n), bool
        True at real parts; False throughout where the modality is absent.
    """

    vectors: Tensor
    mask: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class ModelOutput:
    """What a model gives for a batch.

    Parameters
    ----------
    logits : mapping of str to Tensor of shape (B, N)
        By target.
    embeddings : mapping of str to Tensor of shape (B, E)
        By modality, of unit length, in the shared space; zeros where the modality is absent.
    present : Tensor, shape (B, M), bool
        Which modalities each case really had.
    auxiliary : mapping of str to mapping of str to Tensor of shape (B, N)
        Logits from one modality alone, by modality, then by target; filled in training only.
    fusion_weights : Tensor, shape (B, M), optional
        How far each modality shapes the fused vector, 0 or more; None if the fusion does not say.
    local : mapping of str to LocalFeatures
        By modality; empty unless the fusion or the aligner reads them.
    unscaled : mapping of str to Tensor of shape (B, E)
        By modality: the embeddings before they are brought to unit length, as the fusion reads them.
    members : mapping of str to Tensor of shape (members, B, N)
        By target: the logits of each member of an ensemble; empty if there is none.
    """

    logits: Mapping[str, Tensor]
    embeddings: Mapping[str, Tensor]
    present: Tensor
    auxiliary: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    fusion_weights: Tensor | None = None
    local: Mapping[str, LocalFeatures] = field(default_factory=dict)
    unscaled: Mapping[str, Tensor] = field(default_factory=dict)
    members: Mapping[str, Tensor] = field(default_factory=dict)
