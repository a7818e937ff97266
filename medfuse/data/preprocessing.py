"""The one object that turns a study and a lesion into what the model sees, saved with the model."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from medfuse.config import Modality, TextConfig
from medfuse.data.intensity import restore, shown_window
from medfuse.data.regions import region_box
from medfuse.data.source_parts import SourcePart, prepare_steps, read_part
from medfuse.data.table import TableColumns
from medfuse.errors import BundleError, DataError, LesionPositionError, UsageError
from medfuse.image_config import ImageConfig
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
from medfuse.types import Array, CaseId, Lesion, ReportText, StoredVolume, Study, Unit, Volume

__all__ = ["ImageFacts", "Preprocessing", "lesion_text", "lesion_volume"]

VERSION = 1
"""Of the image's preparation; a model of another version is refused."""


class ImageFacts(NamedTuple):
    """What is known of a case's image beside its voxels; see `medfuse.types.Volume`."""

    unit: Unit
    modality: str = ""
    body_part: str = ""


class _Saved(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1]
    image: ImageConfig
    text: TextConfig
    unit: Unit
    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)]
    table: TableColumns | None = None


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Study and lesion in, sample out; the same in training, scoring and explaining.

    Parameters
    ----------
    image : ImageConfig
        Region, spacing and channels.
    text : TextConfig
        Sections and length.
    unit : {"HU", "arbitrary"}
        Unit of the voxels that the model was trained on; an image in another one is answered with a doubt.
    modalities : tuple of str
        What the model reads; anything else is left unread.
    tokenizer : TextTokenizer, optional
        Trained on the training texts; needed where ``text`` is a modality.
    table : TableColumns, optional
        As the training cases had them; needed where ``table`` is a modality.
    """

    image: ImageConfig
    text: TextConfig
    unit: Unit
    modalities: tuple[str, ...]
    tokenizer: TextTokenizer | None = None
    table: TableColumns | None = None

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
            doubts=self.doubts(self.image_facts(study, lesion), text),
            table=self.prepare_table(lesion.columns),
        )

    def prepare_image(self, study: Study, lesion: Lesion) -> Tensor | None:
        """Crop, resample and scale a case's box.

        Returns
        -------
        Tensor, shape (C, I, J, K), float32, in [0, 1], or None
            In whole steps of 1 / 65535, as the cache keeps it, so that a case is the same to the bit whether it comes
            from there, from a whole volume or from the part that was read. None if the model reads no image or the
            study has none.
        """
        parts = self.gather(study, lesion)
        return None if parts is None else restore(prepare_steps(parts))

    def gather(self, study: Study, lesion: Lesion) -> tuple[SourcePart, ...] | None:
        """Read what a case's box is made of, a part a channel; None if the model reads no image or there is none.

        Raises
        ------
        LesionPositionError
            See `box_affine`.
        DataError
            If the study lacks the image of one of several channels, or a StoredVolume cannot be read.
        """
        if "image" not in self.modalities or self._first_volume(study, lesion) is None:
            return None
        box = self.box_affine(study, lesion)
        parts: list[SourcePart] = []
        for channel in self.image.channels:
            volume = lesion_volume(study, lesion, channel.source)
            if volume is None:
                where = f"study {study.study_key} lesion {lesion.lesion_id}"
                found = f"found no image of channel {channel.source!r}"
                raise DataError(where, found, expected="one of each channel of data.image, or none at all")
            parts.append(read_part(volume, channel, box=box, size=self.image.size))
        return tuple(parts)

    def image_facts(self, study: Study, lesion: Lesion) -> ImageFacts | None:
        """Return what is known of the volume of the first channel, None if the study has none."""
        volume = self._first_volume(study, lesion)
        return None if volume is None else ImageFacts(volume.unit, volume.modality, volume.body_part)

    def doubts(self, image: ImageFacts | None, text: ReportText | None) -> tuple[str, ...]:
        """Return why an answer on a case that can be prepared deserves no trust; empty if nothing is against it."""
        doubts: tuple[str, ...] = ()
        if "image" in self.modalities and image is not None and image.unit != self.unit:
            doubts = (
                f"image in unit {image.unit!r}, unlike the training images in {self.unit!r}: do not trust this answer",
            )
        if "text" in self.modalities and text is not None:
            modality, part = (image.modality, image.body_part) if image is not None else ("", "")
            doubts += report_warnings(text.text, modality=modality, body_part=part)
        return doubts

    @property
    def shown_window(self) -> tuple[float, float]:
        """What 0 and 1 of the first channel stand for; see `medfuse.data.intensity.shown_window`."""
        return shown_window(self.image.channels[0])

    def undo_window(self, image: Tensor) -> NDArray[np.float32]:
        """Return the first channel of a prepared image, shape (C, I, J, K), in the unit of `shown_window`.

        Returns
        -------
        ndarray, shape (I, J, K), float32
            Clipped to the window.
        """
        low, high = self.shown_window
        values: NDArray[np.float32] = (low + image[0].numpy() * (high - low)).astype(np.float32)
        return values

    def box_affine(self, study: Study, lesion: Lesion) -> Array:
        """Return the affine, index to RAS+ mm, of the box that `prepare_image` samples.

        Raises
        ------
        LesionPositionError
            If the box needs a position or an extent that the lesion has not, or the position lies outside the image.
        """
        volume = self._first_volume(study, lesion)
        where = f"study {study.study_key} lesion {lesion.lesion_id}"
        if volume is not None and lesion.centre is not None and not _contains(volume, lesion.centre):
            raise LesionPositionError(where, "the lesion position lies outside the image", expected="RAS mm inside it")
        return region_box(self.image, lesion, volume, where=where)

    def _first_volume(self, study: Study, lesion: Lesion) -> Volume | StoredVolume | None:
        volumes = (lesion_volume(study, lesion, channel.source) for channel in self.image.channels)
        return next((volume for volume in volumes if volume is not None), None)

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

    def prepare_table(self, row: Mapping[str, str]) -> Tensor | None:
        """Turn a case's free columns into what the model reads, shape (T,); None if it reads no table or knows nothing.

        Raises
        ------
        UsageError
            If the model reads a table whose columns no training case has filled yet.
        DataError
            See `TableColumns.encode`.
        """
        if "table" not in self.modalities:
            return None
        if self.table is None:
            raise UsageError("preprocessing", "found no columns of the table", expected="those of the training cases")
        return self.table.encode(row)

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
        return (len(self.image.channels), *self.image.size)

    @property
    def image_bytes(self) -> int:
        """Bytes of a prepared image as it is kept, 2 a voxel."""
        return 2 * math.prod(self.image_shape)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the tokenizer as plain JSON values."""
        return {
            "version": VERSION,
            "image": self.image.model_dump(mode="json"),
            "text": self.text.model_dump(mode="json"),
            "unit": self.unit,
            "modalities": list(self.modalities),
            # Only where there is one, so that the digests of older models hold.
            **({"table": self.table.model_dump(mode="json")} if self.table is not None else {}),
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
        return cls(saved.image, saved.text, saved.unit, saved.modalities, tokenizer, saved.table)

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


def lesion_volume(study: Study, lesion: Lesion, channel: str = "image") -> Volume | StoredVolume | None:
    """Return the volume that shows a lesion in a channel, None if the study has no such image."""
    return study.volumes.get(lesion.channels.get(channel, channel))


def lesion_text(study: Study, lesion: Lesion) -> ReportText | None:
    """Return a lesion's own text, which wins over the study's report; None if there is neither."""
    return lesion.text or study.report


def _contains(volume: Volume | StoredVolume, point: tuple[float, float, float]) -> bool:
    index = np.linalg.inv(volume.affine) @ np.array([*point, 1.0])
    return bool(np.all(index[:3] > -0.5 - 1e-6) and np.all(index[:3] < np.array(volume.shape) - 0.5 + 1e-6))
