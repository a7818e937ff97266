"""Which report and which mask belong to which study of an archive. What could belong to two is given to none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from medfuse.errors import DataError, ManifestError
from medfuse.io.tables import inside, read_table, wrong_cell
from medfuse.types import ReportText

__all__ = ["MASK_NAMES", "REPORT_NAMES", "Paired", "file_beside", "listed_reports", "pair_by_folder"]

REPORT_NAMES = ("report.txt",)
MASK_NAMES = ("mask.nii.gz", "mask.nii")
Paired = Path | ReportText | DataError


def file_beside(folder: Path, root: Path, names: tuple[str, ...]) -> Path | None:
    """Return the nearest file of one of these names, in a folder or above it up to the root; no links."""
    for place in (folder, *folder.parents):
        for name in names:
            path = place / name
            if path.is_file() and not path.is_symlink():
                return path
        if place == root:
            break
    return None


def pair_by_folder(
    folders: Mapping[str, set[Path]], root: Path, *, names: tuple[str, ...], what: str
) -> dict[str, Paired]:
    """Pair studies with files that lie beside or above them.

    Parameters
    ----------
    folders : mapping of str to set of Path
        Folders of each study's images, by StudyInstanceUID.
    root : Path
        Where the search upwards ends.
    names : tuple of str
        Names of such a file.
    what : str
        For error messages, for example ``"report"``.

    Returns
    -------
    dict of str to Path or DataError
        Studies without such a file are left out; the error says why none of several was chosen.
    """
    near = {uid: {p for folder in places if (p := file_beside(folder, root, names))} for uid, places in folders.items()}
    users: dict[Path, int] = defaultdict(int)
    for path in (path for paths in near.values() for path in paths):
        users[path] += 1
    paired: dict[str, Paired] = {}
    for uid, paths in near.items():
        if len(paths) > 1:
            paired[uid] = DataError(what, f"found {len(paths)} {what}s for one study", expected="one")
        elif paths:
            path = next(iter(paths))
            shared = f"found one {what} shared by {users[path]} studies, more than one can own"
            paired[uid] = path if users[path] == 1 else DataError(what, shared, expected="one study below it")
    return paired


def listed_reports(source: Path) -> dict[str, Paired]:
    """Return the reports that a folder or a table gives.

    Parameters
    ----------
    source : Path
        A folder of ``<StudyInstanceUID>.txt``, or a CSV with ``study_uid`` and ``report_path`` or ``report_text``.

    Returns
    -------
    dict of str to Path or ReportText
        By StudyInstanceUID.

    Raises
    ------
    ManifestError
        If the table is wrong, or there is neither folder nor table.
    """
    if source.is_dir():
        return {path.stem: path for path in sorted(source.glob("*.txt")) if path.is_file()}
    known = ("study_uid", "report_path", "report_text")
    frame = read_table(source, required=known[:1], known=known)
    if not set(known[1:]) & set(frame.columns):
        raise ManifestError(source.name, "found neither report_path nor report_text", expected="one of these columns")
    reports: dict[str, Paired] = {}
    for row, record in enumerate(frame.to_dict("records")):
        uid, path, text = (str(record.get(column, "")) for column in known)
        if uid in reports:
            wrong_cell(source, row, "study_uid", "found a second report for one study", "one a study")
        if path and text:
            wrong_cell(source, row, "report_text", "found a report_path too", "one of them")
        if path:
            reports[uid] = inside(source, row, "report_path", path)
        elif text:
            reports[uid] = ReportText(text, source=f"row {row + 2}")
    return reports
