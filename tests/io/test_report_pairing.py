"""Reports belong to the study that their ids say; what contradicts itself is refused, and nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from medfuse.errors import DataError
from medfuse.io.report_documents import ReportDocument
from medfuse.io.report_pairing import Pairing, StudyIds, pair_documents
from medfuse.types import ReportText

STUDIES = {
    "2.25.1": StudyIds(frozenset({"A1"}), frozenset({"Ann"})),
    "2.25.2": StudyIds(frozenset({"A2"}), frozenset({"Bob"})),
    "2.25.3": StudyIds(frozenset({"A3"}), frozenset({"Cy"})),
    "2.25.4": StudyIds(frozenset({"A3"}), frozenset({"Cy"})),
    "2.25.5": StudyIds(frozenset(), frozenset()),
}


def document(
    *, study: str = "", accession: str = "", patient: str = "", name: str = "", text: str = "Clear."
) -> ReportDocument:
    ids = (frozenset(filter(None, value.split())) for value in (study, accession, patient))
    return ReportDocument(ReportText(text), *ids, name=name)


def pair(*documents: ReportDocument) -> Pairing:
    return pair_documents(documents, STUDIES)


@pytest.mark.parametrize(
    ("given", "study"),
    [
        (document(study="2.25.1"), "2.25.1"),
        (document(study="2.25.1", accession="A1", patient="Ann"), "2.25.1"),
        (document(accession="A2"), "2.25.2"),
        (document(name="2.25.2"), "2.25.2"),
        (document(name="A2"), "2.25.2"),
        (document(study="2.25.4", accession="A3"), "2.25.4"),
        (document(study="2.25.5", accession="A9", patient="Zoe"), "2.25.5"),
        (document(study="2.25.1 2.25.99"), "2.25.1"),
    ],
)
def test_report_goes_to_the_study_that_it_names(given: ReportDocument, study: str) -> None:
    pairing = pair(given)
    assert pairing.reports == {study: given.source} and pairing.notes == {} and pairing.n_unpaired == 0


@pytest.mark.parametrize(
    ("given", "study", "message"),
    [
        (document(study="2.25.1", accession="A2"), "2.25.1", "AccessionNumber"),
        (document(study="2.25.1", patient="Bob"), "2.25.1", "PatientID"),
        (document(accession="A2", patient="Ann"), "2.25.2", "PatientID"),
        (document(accession="A3"), "2.25.3", "shared by 2 studies"),
        (document(accession="A3"), "2.25.4", "shared by 2 studies"),
        (document(accession="A1 A2"), "2.25.1", "shared by 2 studies"),
    ],
)
def test_contradiction_is_refused_without_its_values(given: ReportDocument, study: str, message: str) -> None:
    error = pair(given).reports[study]
    assert isinstance(error, DataError) and message in str(error)
    assert not any(value in str(error) for value in ("A1", "A2", "A3", "Ann", "Bob", "Clear"))


def test_contradiction_is_not_healed_by_another_report() -> None:
    for documents in ([document(study="2.25.1", accession="A2"), document(study="2.25.1")],) * 2:
        documents.reverse()
        assert isinstance(pair(*documents).reports["2.25.1"], DataError)


def test_report_that_names_two_studies_is_theirs_with_a_note() -> None:
    pairing = pair(document(study="2.25.1 2.25.2"))
    assert pairing.reports.keys() == {"2.25.1", "2.25.2"} and "shared by 2 studies" in pairing.notes["2.25.1"]


def test_file_that_a_table_gives_to_two_studies_is_theirs_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "r.txt"
    path.write_text("Clear.")
    pairing = pair(*(ReportDocument(path, frozenset({uid})) for uid in ("2.25.1", "2.25.2")))
    assert set(pairing.reports.values()) == {path} and len(pairing.notes) == 2


def test_equal_texts_of_two_studies_are_two_reports() -> None:
    pairing = pair(document(study="2.25.1"), document(study="2.25.2"))
    assert len(pairing.reports) == 2 and pairing.notes == {}


def test_two_different_reports_are_refused_and_reports_of_no_study_counted() -> None:
    pairing = pair(document(name="A1"), document(study="2.25.1", text="Other."), document(name="A9"), document())
    assert "2 reports for one study" in str(pairing.reports["2.25.1"]) and pairing.n_unpaired == 2
