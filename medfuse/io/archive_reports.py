"""The reports of an archive's studies: those that the user gives, else those that lie in the archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from medfuse.errors import DataError
from medfuse.io.archive_series import FoundSeries
from medfuse.io.archive_walk import REPORT, FoundFiles
from medfuse.io.companions import REPORT_NAMES, by_folder, pair_by_folder
from medfuse.io.containers import Problems
from medfuse.io.report_documents import ReportDocument
from medfuse.io.report_pairing import Pairing, StudyIds, pair_documents
from medfuse.io.report_sources import read_documents
from medfuse.io.report_sr import read_sr

__all__ = ["archive_reports"]


def archive_reports(
    files: FoundFiles,
    found: Sequence[FoundSeries],
    folders: Mapping[str, set[Path]],
    root: Path,
    *,
    reports: Path | None,
) -> Pairing:
    """Pair an archive's studies with their reports.

    Parameters
    ----------
    files : FoundFiles
    found : sequence of FoundSeries
    folders : mapping of str to set of Path
        Folders of each study's images, by study_uid.
    root : Path
    reports : Path, optional
        What the user gives; see `medfuse.io.index_archive`.

    Returns
    -------
    Pairing
    """
    studies = _study_ids(found)
    problems: Problems = []
    if reports is not None:
        pairing = pair_documents(read_documents(reports, problems=problems), studies)
        pairing.problems = problems
        return pairing
    beside = pair_by_folder(folders, root, files=by_folder(files.companions[REPORT], REPORT_NAMES), what="report")
    pairing = pair_documents(_structured(files.structured, problems), studies)
    for uid in beside.keys() & pairing.reports.keys():
        pairing.notes[uid] = "a structured report (SR) too: the report file beside the images is used"
    pairing.reports |= beside
    pairing.problems = problems
    return pairing


def _structured(paths: Sequence[Path], problems: Problems) -> list[ReportDocument]:
    documents = []
    for path in paths:
        try:
            document = read_sr(path)
        except DataError as error:
            problems.append((path, error))
            continue
        if document is not None:
            documents.append(document)
    return documents


def _study_ids(found: Sequence[FoundSeries]) -> dict[str, StudyIds]:
    ids: dict[str, tuple[set[str], set[str]]] = {}
    for item in found:
        accessions, patients = ids.setdefault(str(item.row["study_uid"]), (set(), set()))
        accessions.update(filter(None, str(item.row["accession_number"]).split("\\")))
        patients.update(filter(None, [str(item.row["patient_id"])]))
    return {uid: StudyIds(frozenset(accessions), frozenset(patients)) for uid, (accessions, patients) in ids.items()}
