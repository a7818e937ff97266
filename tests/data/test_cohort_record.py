import json
from dataclasses import replace

import pandas as pd
import pytest

from medfuse.data import CaseSet, write_cohort
from medfuse.data.cohort_record import MOST_VALUES, cohort_facts, cohort_table
from medfuse.types import ReportText, Target

TARGETS = (Target("malignancy", "binary", ("negative", "positive")),)


@pytest.fixture
def parts(toy_cases):
    return {
        "train": [case for case in toy_cases if case.row["fold"] != "0"],
        "test": [case for case in toy_cases if case.row["fold"] == "0"],
    }


def test_a_row_a_case_with_its_part_and_what_it_has(parts):
    table = cohort_table(parts, TARGETS)
    assert table["part"].value_counts().to_dict() == {name: len(cases) for name, cases in parts.items()}
    assert (len(table) - int(table["has_image"].sum()), len(table) - int(table["has_text"].sum())) == (1, 1)
    assert set(table["label_malignancy"]) == {"negative", "positive"}
    assert {"site", "diameter_mm"} <= set(table.columns)


def with_column(parts, name, values):
    numbers = iter(range(10**6))
    return {
        part: [replace(case, row={**case.row, name: values(next(numbers))}) for case in cases]
        for part, cases in parts.items()
    }


@pytest.mark.parametrize(
    ("name", "values", "kept"),
    [
        ("age", lambda n: str(40 + n % 9), True),
        ("score", lambda n: str(n / 7), True),
        ("number", lambda n: str(10_000 + n), False),
        ("who", lambda n: f"Name {n % (MOST_VALUES + 1)}", False),
        ("remark", lambda n: "x" * 80, False),
        ("birth_year", lambda n: "1950", False),
        ("ScanDate", lambda n: "20200101", False),
        ("empty", lambda n: "", False),
        ("site ", lambda n: "<b>=1+1</b>" if n % 2 else "north", True),
    ],
)
def test_a_column_that_could_name_a_patient_is_left_out(parts, name, values, kept):
    assert (name in cohort_table(with_column(parts, name, values), TARGETS).columns) is kept


def test_no_real_id_and_no_text_is_written(toy, parts, tmp_path):
    write_cohort(tmp_path, manifest=toy.manifest, parts=parts, targets=TARGETS)
    written = (tmp_path / "cohort.json").read_text() + pd.read_parquet(tmp_path / "cohort.parquet").to_csv()
    assert not [secret for secret in toy.secrets if secret in written]


def test_refusals_are_counted_by_what_was_found(toy, parts, toy_cases):
    refused = (("S1", "1", "case: found no box; expected one"), ("S2", "2", "row 3: found no box; expected one"),
               ("S3", "", "study S3: found a gap; expected none"))  # fmt: skip
    facts = cohort_facts(toy.manifest, parts, loaded=CaseSet(toy_cases, refused, 5))
    assert facts["refused"] == [
        {"reason": "found no box", "cases": 2, "studies": 0},
        {"reason": "found a gap", "cases": 0, "studies": 1},
    ]
    assert facts["unlabelled"] == 5
    assert facts["manifest"] == {"cases": 36, "studies": 36, "patients": 24}
    assert json.loads(json.dumps(facts)) == facts


def test_what_two_parts_share_is_counted(toy, parts):
    own = {name: [replace(c, text=ReportText(str(c.id))) for c in cases] for name, cases in parts.items()}
    assert cohort_facts(toy.manifest, own)["shared"]["train test"] == {"patients": 0, "images": 0, "texts": 0}
    copied = replace(own["train"][0], text=ReportText("  The same\nWORDS "))
    same = replace(own["test"][0], text=ReportText("the same words"), prepared=copied.prepared)
    planted = {"train": [copied, *own["train"][1:]], "test": [same, *own["test"][1:], own["train"][1]]}
    shared = cohort_facts(toy.manifest, planted)["shared"]["train test"]
    assert shared == {"patients": 1, "images": 2, "texts": 2}
