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
        place, problem = _found(path.parent, parts)
        if problem is None:
            there.add(place)
        else:
            problems.append((place, problem))
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


def _found(folder: Path, parts: tuple[str, ...]) -> tuple[Path, VolumeError | None]:
    """Find a listed file, in whatever letter case the medium was copied in; no link is followed."""
    if any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts):
        found = "found a listed file outside its folder, an unsafe path"
        return folder / NAME, VolumeError(WHERE, found, expected="one below")
    place = folder
    for number, part in enumerate(parts, start=1):
        name = _names(place).get(part.upper())
        target = place / (name or part)
        is_there = target.is_file() if number == len(parts) else target.is_dir()
        if name is None or target.is_symlink() or not is_there:
            error = VolumeError(WHERE, "found a listed file that is missing", expected="every file that it lists")
            return target.joinpath(*parts[number:]), error
        place = target
    return place, None


@lru_cache(maxsize=64)
def _names(folder: Path) -> dict[str, str]:
    """Return the names in a folder by their upper case, without the version numbers of ISO 9660."""
    try:
        names = sorted((path.name for path in folder.iterdir()), reverse=True)
        return {name.upper().removesuffix(";1"): name for name in names}
    except OSError:
        return {}
