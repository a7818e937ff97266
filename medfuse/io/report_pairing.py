"""Which report belongs to which study: by its ids, and refused where they contradict each other. Nothing is guessed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medfuse.errors import DataError
from medfuse.io.containers import Problems
from medfuse.io.report_documents import Paired, ReportDocument, combined

__all__ = ["Pairing", "StudyIds", "pair_documents"]

WHERE = "report"


@dataclass(frozen=True, slots=True)
class StudyIds:
    """The ids of a study's images beside its StudyInstanceUID."""

    accessions: frozenset[str] = field(repr=False)
    patient_ids: frozenset[str] = field(repr=False)


@dataclass(slots=True)
class Pairing:
    """The reports of studies. Real ids stay in it.

    Parameters
    ----------
    reports : dict of str to Path, ReportText or DataError
        By study_uid; an error where the pairing is not certain. Studies without a report are left out.
    notes : dict of str to str
        By study_uid, what was chosen, joined or shared.
    n_unpaired : int
        Reports of no study.
    problems : list of (Path, DataError)
        Reports that cannot be read.
    """

    reports: dict[str, Paired] = field(default_factory=dict, repr=False)
    notes: dict[str, str] = field(default_factory=dict, repr=False)
    n_unpaired: int = 0
    problems: Problems = field(default_factory=list, repr=False)


def pair_documents(documents: Iterable[ReportDocument], studies: Mapping[str, StudyIds]) -> Pairing:
    """Pair reports with studies.

    A report that names studies by StudyInstanceUID belongs to those; another one to the study of its AccessionNumber,
    which must be one. In both cases a PatientID or AccessionNumber that the report states too must be the study's.

    Parameters
    ----------
    documents : iterable of ReportDocument
    studies : mapping of str to StudyIds
        By study_uid.

    Returns
    -------
    Pairing
    """
    by_accession: dict[str, set[str]] = defaultdict(set)
    for uid, ids in studies.items():
        for accession in ids.accessions:
            by_accession[accession].add(uid)
    pairing = Pairing()
    of_study: dict[str, list[ReportDocument]] = defaultdict(list)
    users = Counter[object]()
    for document in documents:
        uids = _studies_of(document, studies, by_accession)
        pairing.n_unpaired += not uids
        is_named = bool(document.study_uids or document.name in studies)
        for uid in sorted(uids):
            error = _contradiction(document, studies[uid])
            if len(uids) > 1 and not is_named:
                found = f"found one report shared by {len(uids)} studies of one AccessionNumber, more than one"
                error = DataError(WHERE, found, expected="a StudyInstanceUID that says whose it is")
            if error is not None:
                pairing.reports.setdefault(uid, error)
            of_study[uid].append(document)
            users[_identity(document)] += 1
    for uid, items in of_study.items():
        if uid in pairing.reports:
            continue
        pairing.reports[uid], note = combined(items)
        shared = max(users[_identity(item)] for item in items)
        notes = [note] if note else []
        if shared > 1:
            notes.append(f"one report shared by {shared} studies, each named")
        if notes:
            pairing.notes[uid] = "; ".join(notes)
    return pairing


def _studies_of(
    document: ReportDocument, studies: Mapping[str, StudyIds], by_accession: Mapping[str, set[str]]
) -> set[str]:
    if document.study_uids:
        return {uid for uid in document.study_uids if uid in studies}
    if document.name in studies:
        return {document.name}
    names = document.accessions or {document.name}
    return set().union(*(by_accession.get(name, ()) for name in names if name))


def _identity(document: ReportDocument) -> object:
    """Return what makes two documents one report: their file; equal texts may be of two patients."""
    return document.source if isinstance(document.source, Path) else id(document)


def _contradiction(document: ReportDocument, study: StudyIds) -> DataError | None:
    for keyword, stated, known in (
        ("AccessionNumber", document.accessions, study.accessions),
        ("PatientID", document.patient_ids, study.patient_ids),
    ):
        if stated and known and stated.isdisjoint(known):
            return DataError(WHERE, f"found a report whose {keyword} is not that of its study", expected="one of both")
    return None
