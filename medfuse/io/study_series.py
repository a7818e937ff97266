"""A study's series and lesions -> which series shows which lesion, by name, by rule, or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from medfuse.config import SeriesRule
from medfuse.errors import DataError, VolumeError
from medfuse.io.positions import lesions_of_objects
from medfuse.io.series_files import SeriesFiles
from medfuse.io.series_rule import choose_series
from medfuse.io.studies import DEFAULT_CHANNEL, LesionEntry
from medfuse.io.volumes import ImageSource

__all__ = ["StudySeries", "marked_lesions", "study_series"]

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StudySeries:
    """The series of a study that are volumes, and the one that is its image. Real UIDs stay in it.

    Parameters
    ----------
    images : mapping of str to ImageSource
        By key: "image" of the chosen one, "series-1" and so on of the others.
    keys : mapping of str to str
        The keys by series_uid.
    reasons : mapping of str to str
        By series_uid, why a series is no volume.
    chosen : str
        series_uid of the one that is the study's image; empty if none is.
    refusal : DataError, optional
        Why none is.
    """

    images: Mapping[str, ImageSource] = field(repr=False)
    keys: Mapping[str, str] = field(repr=False)
    reasons: Mapping[str, str] = field(repr=False)
    chosen: str = field(default="", repr=False)
    refusal: DataError | None = None

    def image(self) -> Mapping[str, ImageSource]:
        """Return the study's one image by its channel."""
        return {DEFAULT_CHANNEL: self.images[self.keys[self.chosen]]} if self.chosen else {}

    def place(self, lesion: LesionEntry) -> LesionEntry:
        """Turn a lesion's real series_uid into the key of its image; without one the study's image shows it."""
        uid = lesion.channels.get(DEFAULT_CHANNEL, self.chosen)
        if uid in self.keys:
            return replace(lesion, channels={DEFAULT_CHANNEL: self.keys[uid]})
        absent = "found no such series; expected a series_uid of its study"
        refusal = self.refusal if not uid else VolumeError("lesion", self.reasons.get(uid) or absent)
        return replace(lesion, channels={}, refusal=lesion.refusal or refusal)


def study_series(rows: Sequence[Row], sources: Mapping[str, ImageSource], *, rule: SeriesRule) -> StudySeries:
    """Find the volumes of a study, and choose its image.

    Parameters
    ----------
    rows : sequence of mapping
        The study's rows of the index; see `medfuse.io.series_rule.choose_series`. ``n_volumes`` above 1 marks a
        series of several time points, of which the rule may choose one.
    sources : mapping of str to ImageSource
        By series_uid.
    rule : SeriesRule

    Returns
    -------
    StudySeries
    """
    usable: dict[str, ImageSource] = {}
    reasons: dict[str, str] = {}
    described: list[dict[str, Any]] = []
    for row in rows:
        uid, reason = str(row["series_uid"]), str(row["reason"])
        try:
            if row["is_volume"]:
                usable[uid] = sources[uid]
            elif int(row.get("n_volumes", 1)) > 1 and rule.time_point != "refuse":
                usable[uid] = _time_point(sources[uid], rule)
            else:
                reasons[uid] = reason
        except DataError as error:
            reasons[uid] = str(error)
        described.append({**row, "is_volume": uid in usable, "reason": reasons.get(uid, "")})
    chosen, refusal = "", None
    try:
        chosen = choose_series(described, rule)
    except VolumeError as error:
        refusal = error
    keys = {uid: DEFAULT_CHANNEL if uid == chosen else f"series-{n}" for n, uid in enumerate(usable, start=1)}
    return StudySeries({key: usable[uid] for uid, key in keys.items()}, keys, reasons, chosen, refusal)


def marked_lesions(
    objects: Sequence[tuple[Path, str]], rows: Sequence[Row], series: StudySeries
) -> tuple[LesionEntry, ...]:
    """Read the lesions that a study's SEG or RTSTRUCT objects mark; see `medfuse.io.positions.lesions_of_objects`.

    Raises
    ------
    DataError
        If they mark none, and no series is the study's image.
    """
    lesions = tuple(series.place(lesion) for lesion in lesions_of_objects(objects, pd.DataFrame(rows)))
    if not lesions and series.refusal is not None:
        raise series.refusal
    return lesions


def _time_point(source: ImageSource, rule: SeriesRule) -> ImageSource:
    if not isinstance(source, SeriesFiles):
        raise VolumeError("series", "found several volumes in one file", expected="a DICOM series, or one volume")
    return replace(source, time_point=rule.time_point)
