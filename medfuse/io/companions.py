"""Which report and which mask lie beside which study. What could belong to two is given to none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from medfuse.errors import DataError

__all__ = ["MASK_NAMES", "REPORT_NAMES", "by_folder", "only_companion", "pair_by_folder"]

REPORT_NAMES = ("report.txt",)
MASK_NAMES = ("mask.nii.gz", "mask.nii")


def by_folder(files: Iterable[Path], names: tuple[str, ...]) -> dict[Path, Path]:
    """Return the files by their folder; of several in one the name that comes first in ``names``."""
    found: dict[Path, Path] = {}
    for path in sorted(files, key=lambda path: names.index(path.name)):
        found.setdefault(path.parent, path)
    return found


def pair_by_folder(
    folders: Mapping[str, set[Path]], root: Path, *, files: Mapping[Path, Path], what: str
) -> dict[str, Path | DataError]:
    """Pair studies with files that lie beside or above them.

    Parameters
    ----------
    folders : mapping of str to set of Path
        Folders of each study's images, by StudyInstanceUID.
    root : Path
        Where the search upwards ends.
    files : mapping of Path to Path
        Such files, by folder.
    what : str
        For error messages, for example ``"report"``.

    Returns
    -------
    dict of str to Path or DataError
        Studies without such a file are left out; the error says why none of several was chosen.

    Examples
    --------
    >>> root = Path("a")
    >>> files = {root / "s": root / "s" / "r.txt"}
    >>> near = pair_by_folder({"2.25.1": {root / "s" / "ct"}}, root, files=files, what="report")
    >>> str(near["2.25.1"])
    'a/s/r.txt'
    """
    near = {
        uid: {path for folder in places if (path := _nearest(folder, root, files)) is not None}
        for uid, places in folders.items()
    }
    users = Counter(path for paths in near.values() for path in paths)
    return {uid: only_companion(paths, lambda path: users[path], what=what) for uid, paths in near.items() if paths}


def only_companion(paths: Collection[Path], n_users: Callable[[Path], int], *, what: str) -> Path | DataError:
    """Return the one file that lies nearest to a study's images and to no other study's, or why there is none.

    Parameters
    ----------
    paths : collection of Path
        Those nearest to its images; at least one.
    n_users : callable
        How many studies a file is nearest to.
    what : str
        For error messages.

    Returns
    -------
    Path or DataError
    """
    if len(paths) > 1:
        return DataError(what, f"found {len(paths)} {what}s for one study", expected="one")
    (path,) = paths
    if (n := n_users(path)) == 1:
        return path
    shared = f"found one {what} shared by {n} studies, more than one can own"
    return DataError(what, shared, expected="one study below it")


def _nearest(folder: Path, root: Path, files: Mapping[Path, Path]) -> Path | None:
    for place in (folder, *folder.parents):
        if place in files:
            return files[place]
        if place == root:
            break
    return None
