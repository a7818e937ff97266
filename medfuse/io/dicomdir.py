"""The files that a DICOMDIR lists (PS3.3 annex F): the table of contents of a CD, and what is missing of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from medfuse.errors import DataError, VolumeError
from medfuse.io.containers import Problems
from medfuse.io.dicom_elements import NotWalkableError, Wanted, walk_elements
from medfuse.io.dicom_start import read_start
from medfuse.io.inflating import open_with_head

__all__ = ["is_dicomdir", "listed_files", "missing_files"]

NAME = "DICOMDIR"
RECORDS, FILE_ID, TYPE = 0x00041220, 0x00041500, 0x00041430
WANTED: Wanted = {RECORDS: {FILE_ID: "CS", TYPE: "CS"}}
WHERE = "DICOMDIR"


def is_dicomdir(path: Path) -> bool:
    """Tell by its name whether a file is a DICOMDIR.

    Examples
    --------
    >>> is_dicomdir(Path("cd/DICOMDIR")), is_dicomdir(Path("cd/IM1"))
    (True, False)
    """
    return path.name.upper() == NAME


def listed_files(path: Path, *, problems: Problems) -> Iterator[Path]:
    """Yield the files that a DICOMDIR lists and that are there, each once, sorted.

    Parameters
    ----------
    path : Path
        Of the DICOMDIR.
    problems : list
        Gets (path, error) of each listed file that is not there or lies outside, or of the DICOMDIR itself.

    Yields
    ------
    Path
    """
    try:
        listed = _listed(path)
    except DataError as error:
        problems.append((path, error))
        return
    there: set[Path] = set()
    for parts in listed:
        found = _found(path.parent, parts)
        if isinstance(found, VolumeError):
            problems.append((path.parent.joinpath(*(part for part in parts if part not in ("", "..", "/"))), found))
        else:
            there.add(found)
    yield from sorted(there)


def missing_files(path: Path) -> Problems:
    """Return the files that a DICOMDIR lists but that are not there.

    Parameters
    ----------
    path : Path
        Of the DICOMDIR.

    Returns
    -------
    list of (Path, VolumeError)
        Of the DICOMDIR itself if it cannot be read.
    """
    problems: Problems = []
    for _ in listed_files(path, problems=problems):
        pass
    return problems


def _listed(path: Path) -> list[tuple[str, ...]]:
    """Return the Referenced File IDs, as names of folders and file."""
    try:
        file, head = open_with_head(path)
        with file:
            start = read_start(head)
            if start is None:
                raise NotWalkableError
            found, _, _ = walk_elements(
                file, start.offset, explicit=start.is_explicit, wanted=WANTED, big=start.is_big, head=head
            )
    except (OSError, NotWalkableError) as error:
        raise DataError(WHERE, f"cannot be read ({type(error).__name__})", expected="a whole DICOMDIR") from error
    if RECORDS not in found:
        raise DataError(WHERE, "found no DirectoryRecordSequence", expected="a whole DICOMDIR")
    records = found[RECORDS]
    ids = [record.get(FILE_ID) for record in records if not isinstance(record, str)]
    return [tuple(text.split("\\")) for text in ids if isinstance(text, str)]


def _found(folder: Path, parts: tuple[str, ...]) -> Path | VolumeError:
    """Find a listed file, in whatever letter case the medium was copied in; no link is followed."""
    place = folder
    for number, part in enumerate(parts, start=1):
        if part in ("", ".", "..") or "/" in part or "\0" in part:
            return VolumeError(WHERE, "found a listed file outside its folder, an unsafe path", expected="one below")
        name = _names(place).get(part.upper())
        if name is None or (place / name).is_symlink():
            return VolumeError(WHERE, "found a listed file that is missing", expected="every file that it lists")
        place = place / name
        if not (place.is_file() if number == len(parts) else place.is_dir()):
            return VolumeError(WHERE, "found a listed file that is missing", expected="every file that it lists")
    return place


@lru_cache(maxsize=64)
def _names(folder: Path) -> dict[str, str]:
    """Return the names in a folder by their upper case, without the version numbers of ISO 9660."""
    try:
        names = sorted((path.name for path in folder.iterdir()), reverse=True)
        return {name.upper().removesuffix(";1"): name for name in names}
    except OSError:
        return {}
