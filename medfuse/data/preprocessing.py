"""The one object that turns a study and a lesion into what the model sees, saved with the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from medfuse.config import ImageConfig, Modality, TextConfig
from medfuse.data.resampling import box_affine, sample_box
from medfuse.errors import BundleError, LesionPositionError, UsageError
from medfuse.tensors import Sample
from medfuse.text import (
    Encoding,
    FindingFlags,
    TextTokenizer,
    finding_flags,
    flag_names,
    overlaps,
    report_warnings,
    select_sections,
    term_spans,
)
from medfuse.text.tokens import UNKNOWN_ID
from medfuse.types import Array, CaseId, Lesion, ReportText, Study, Unit, Volume

__all__ = ["Preprocessing", "lesion_text", "lesion_volume"]

CHANNEL = "image"


class _Saved(BaseModel):
    model_config = ConfigDict(extra="forbid")

    image: ImageConfig
    text: TextConfig
    unit: Unit
    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Study and lesion in, sample out; the same in training, scoring and explaining.

    Parameters
    ----------
    image : ImageConfig
        Box, spacing and window.
    text : TextConfig
        Sections and length.
    unit : {"HU", "arbitrary"}
        Unit of the voxels that the model was trained on; an image in another one is answered with a doubt.
    modalities : tuple of str
        What the model reads; anything else is left unread.
    tokenizer : TextTokenizer, optional
        Trained on the training texts; needed where ``text`` is a modality.
    """

    image: ImageConfig
    text: TextConfig
    unit: Unit
    modalities: tuple[str, ...]
    tokenizer: TextTokenizer | None = None

    def __call__(self, study: Study, lesion: Lesion) -> Sample:
        """Prepare one case.

        Parameters
        ----------
        study : Study
        lesion : Lesion
            One of the study's lesions.

        Returns
        -------
        Sample

        Raises
        ------
        DataError
            If the case has none of the model's modalities.
        LesionPositionError
            If there is an image but no position, or the position lies outside the image.
        """
        text = lesion_text(study, lesion)
        return Sample(
            CaseId(study.study_key, lesion.lesion_id),
            image=self.prepare_image(study, lesion),
            token_ids=self.prepare_text(text),
            flags=self.prepare_flags(text),
            doubts=self.doubts(study, lesion),
        )

    def prepare_image(self, study: Study, lesion: Lesion) -> Tensor | None:
        """Crop, resample and window the box around a lesion.

        Returns
        -------
        Tensor, shape (1, I, J, K), float32, in [0, 1], or None
            None if the model reads no image or the study has none.
        """
        volume = lesion_volume(study, lesion)
        if "image" not in self.modalities or volume is None:
            return None
        low, high = self.image.window
        box = sample_box(volume, self.box_affine(study, lesion), size=self.image.size, fill=low)
        # From 0, so that the zero padding of a convolution looks like the window's lowest value.
        scaled = np.clip((box - low) / (high - low), 0.0, 1.0)
        return torch.from_numpy(scaled.astype(np.float32)[np.newaxis])

    def doubts(self, study: Study, lesion: Lesion) -> tuple[str, ...]:
        """Return why an answer on a case that can be prepared deserves no trust; empty if nothing is against it."""
        volume = lesion_volume(study, lesion)
        text = lesion_text(study, lesion)
        doubts: tuple[str, ...] = ()
        if "image" in self.modalities and volume is not None and volume.unit != self.unit:
            doubts = (
                f"image in unit {volume.unit!r}, unlike the training images in {self.unit!r}: do not trust this answer",
            )
        if "text" in self.modalities and text is not None:
            modality, part = (volume.modality, volume.body_part) if volume is not None else ("", "")
            doubts += report_warnings(text.text, modality=modality, body_part=part)
        return doubts

    def undo_window(self, image: Tensor) -> NDArray[np.float32]:
        """Return a prepared image, shape (1, I, J, K), in the volume's unit, clipped to the window.

        Returns
        -------
        ndarray, shape (I, J, K), float32
        """
        low, high = self.image.window
        values: NDArray[np.float32] = (low + image[0].numpy() * (high - low)).astype(np.float32)
        return values

    def box_affine(self, study: Study, lesion: Lesion) -> Array:
        """Return the affine, index to RAS+ mm, of the box that `prepare_image` samples."""
        volume = lesion_volume(study, lesion)
        where = f"study {study.study_key} lesion {lesion.lesion_id}"
        if lesion.centre is None:
            raise LesionPositionError(where, "no lesion position", expected="a point, mask or box for each lesion")
        if volume is not None and not _contains(volume, lesion.centre):
            raise LesionPositionError(where, "the lesion position lies outside the image", expected="RAS mm inside it")
        return box_affine(lesion.centre, size=self.image.size, spacing_mm=self.image.spacing_mm)

    def prepare_text(self, text: ReportText | None) -> Tensor | None:
        """Turn a report into token ids.

        Returns
        -------
        Tensor, shape (L,), int64, or None
            None if the model reads no text or there is none.
        """
        encoding = self.encode(text)
        return None if encoding is None else torch.tensor(encoding.ids, dtype=torch.int64)

    def encode(self, text: ReportText | None) -> Encoding | None:
        """Turn a report into tokens with their offsets into the untouched text.

        Raises
        ------
        UsageError
            If the model reads text and there is no tokenizer.
        """
        if "text" not in self.modalities or text is None:
            return None
        if self.tokenizer is None:
            raise UsageError("preprocessing", "found no tokenizer", expected="the one trained on the training texts")
        spans = select_sections(text.text, self.text.sections)
        encoding = self.tokenizer.encode(text.text, spans=spans, max_length=self.text.max_length)
        return _hide(encoding, self._masked_spans(text.text))

    def prepare_flags(self, text: ReportText | None) -> Tensor | None:
        """Turn a report into flags, shape (F,); None if there is no text or the model reads no flags."""
        found = self.flag(text)
        return None if found is None else torch.tensor(found.values, dtype=torch.float32)

    def flag(self, text: ReportText | None) -> FindingFlags | None:
        """Return what the part of a report that the model may read says of each label, and where."""
        if "text" not in self.modalities or text is None or self.text.flags == "none":
            return None
        return finding_flags(
            text.text,
            scheme=self.text.flags,
            within=select_sections(text.text, self.text.sections),
            without=self._masked_spans(text.text),
        )

    def masked(self) -> Preprocessing:
        """Return this preparation with the label's words always masked."""
        return replace(self, text=self.text.model_copy(update={"mask": "always"}))

    def _masked_spans(self, text: str) -> Sequence[tuple[int, int]]:
        return term_spans(text, self.text.mask_terms) if self.text.mask == "always" else ()

    @property
    def n_flags(self) -> int:
        """F, the length of the flags; 0 if the model reads none."""
        reads = "text" in self.modalities and self.text.flags != "none"
        return len(flag_names(self.text.flags)) if reads else 0

    @property
    def image_shape(self) -> tuple[int, int, int, int]:
        """Shape (C, I, J, K) of a prepared image."""
        return (1, *self.image.size)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the tokenizer as plain JSON values."""
        return {
            "image": self.image.model_dump(mode="json"),
            "text": self.text.model_dump(mode="json"),
            "unit": self.unit,
            "modalities": list(self.modalities),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], *, tokenizer: TextTokenizer | None) -> Preprocessing:
        """Rebuild what `to_dict` gave.

        Raises
        ------
        BundleError
            If a value is missing or wrong.
        """
        try:
            saved = _Saved.model_validate(content)
        except ValueError as error:
            raise BundleError("model.json preprocessing", "found a missing or wrong value") from error
        return cls(saved.image, saved.text, saved.unit, saved.modalities, tokenizer)

    @property
    def digest(self) -> str:
        """SHA-256 over every option and the tokenizer: equal digests prepare equally."""
        content = json.dumps(self.to_dict(), sort_keys=True)
        tokens = self.tokenizer.to_json() if self.tokenizer else ""
        return hashlib.sha256(f"{content}\n{tokens}".encode()).hexdigest()


def _hide(encoding: Encoding, masked: Sequence[tuple[int, int]]) -> Encoding:
    """Put one unknown token in the place of each masked part, so that not even its length is told."""
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    hidden = False
    for token, offset in zip(encoding.ids, encoding.offsets, strict=True):
        was_hidden, hidden = hidden, overlaps(offset, masked)
        if hidden and was_hidden:
            offsets[-1] = (offsets[-1][0], offset[1])
            continue
        ids.append(UNKNOWN_ID if hidden else token)
        offsets.append(offset)
    return replace(encoding, ids=tuple(ids), offsets=tuple(offsets))


def lesion_volume(study: Study, lesion: Lesion) -> Volume | None:
    """Return the volume that shows a lesion, None if the study has no image."""
    return study.volumes.get(lesion.channels.get(CHANNEL, CHANNEL))


def lesion_text(study: Study, lesion: Lesion) -> ReportText | None:
    """Return a lesion's own text, which wins over the study's report; None if there is neither."""
    return lesion.text or study.report


def _contains(volume: Volume, point: tuple[float, float, float]) -> bool:
    index = np.linalg.inv(volume.affine) @ np.array([*point, 1.0])
    return bool(np.all(index[:3] > -0.5 - 1e-6) and np.all(index[:3] < np.array(volume.voxels.shape) - 0.5 + 1e-6))
