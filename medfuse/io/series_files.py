"""The files of a series, in little memory: their headers are read when the series is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from medfuse.config import SeriesRule
from medfuse.errors import VolumeError
from medfuse.io.dicom_headers import SliceHeader
from medfuse.io.dicom_split import Stack, split_series
from medfuse.io.series_rule import choose_time_point
from medfuse.io.tag_walker import HeaderReader

__all__ = ["SeriesFiles"]

SEPARATOR = "\0"
"""No file's name has it."""


@dataclass(frozen=True, slots=True)
class SeriesFiles:
    """Where the slices of a series lie. Real names stay in it: it is never shown, logged or written.

    Parameters
    ----------
    folder : str
        Which all of them lie in or below.
    names : str
        Their paths in it, joined by `SEPARATOR`.
    time_point : {"refuse", "first", "middle", "last"}
        Which volume is read, if the series holds several.
    """

    folder: str = field(repr=False)
    names: str = field(repr=False)
    time_point: Literal["refuse", "first", "middle", "last"] = "refuse"

    @classmethod
    def of(cls, root: str, names: Sequence[str]) -> Self:
        """Return those of paths relative to a folder."""
        common = os.path.commonpath({name.rpartition(os.sep)[0] for name in names})
        start = len(common) + 1 if common else 0
        return cls(os.fspath(Path(root, common)), SEPARATOR.join([name[start:] for name in names]))

    def paths(self) -> list[Path]:
        """Return the paths."""
        return [Path(self.folder, name) for name in self.names.split(SEPARATOR)]

    def headers(self) -> tuple[SliceHeader, ...]:
        """Read the headers.

        Raises
        ------
        VolumeError
            If a file is no longer the image that it was.
        """
        reader = HeaderReader()
        headers = [reader.read(path) for path in self.paths()]
        images = tuple(header for header in headers if header is not None)
        if len(images) < len(headers) or len({item.text("SeriesInstanceUID") for item in images}) > 1:
            found = "found files that changed since they were indexed"
            raise VolumeError("series", found, expected="an archive at rest; index it again")
        return images

    def stack(self) -> Stack:
        """Read the headers and return the series' volume.

        Raises
        ------
        VolumeError
            See `medfuse.io.dicom_split.split_series`; of several volumes `time_point` chooses one.
        """
        return choose_time_point(split_series(self.headers()), SeriesRule(time_point=self.time_point))
