import pandas as pd
import pytest

from medfuse.reporting.catalogue import open_catalogue
from medfuse.reporting.cohort_tables import MOST_COLUMNS, cohort_rows, flow_boxes, parts_of

SAY = open_catalogue("en")
EVALUATED = {"cases": 9, "patients": 8, "positive": 4, "negative": 5}


def cohort(**columns):
    n = 40
    parts = ["test"] * 10 + ["train"] * 30
    fixed = {
        "case_id": [f"c{i}" for i in range(n)],
        "patient_key": [f"p{i // 2}" for i in range(n)],
        "part": parts,
        "fold": "",
        "has_image": [i % 10 != 0 for i in range(n)],
        "has_text": True,
        "label_malignancy": ["yes" if i % 4 == 0 else "no" if i % 4 < 3 else "" for i in range(n)],
    }
    return pd.DataFrame({**fixed, **columns})


def cells(table, name):
    return next(row.cells for row in cohort_rows(table, SAY) if row.name == name)


def test_parts_stand_in_the_order_of_their_use():
    assert parts_of(cohort()) == ["train", "test"]


def test_counts_shares_and_what_is_missing_are_those_of_each_part():
    table = cohort()
    assert cells(table, "Patients") == ("15", "5")
    assert cells(table, "Without an image") == ("3 (10%)", "1 (10%)")
    train = table[table["part"] == "train"]["label_malignancy"]
    n, known = int((train == "yes").sum()), int((train != "").sum())
    assert cells(table, "yes")[0] == f"{n} ({100 * n / known:.0f}%)"
    assert cells(table, "missing")[0] == f"{30 - known} ({100 * (30 - known) / 30:.0f}%)"


def test_a_column_of_numbers_is_told_by_median_and_quartiles_with_its_gaps():
    table = cohort(age=["" if i == 39 else str(20.0 + i) for i in range(40)])
    own = pd.to_numeric(table.loc[table["part"] == "test", "age"])
    low, middle, high = (f"{own.quantile(q):.1f}" for q in (0.25, 0.5, 0.75))
    assert cells(table, "age, median (quartiles)")[1] == f"{middle} ({low} to {high})"
    assert cells(table.drop(columns="label_malignancy"), "missing") == ("1 (3%)", "0 (0%)")


def test_a_wide_manifest_is_cut_and_says_so():
    table = cohort(**{f"column{i}": ["a", "b"] * 20 for i in range(MOST_COLUMNS + 3)}, modality="CT")
    names = [row.name for row in cohort_rows(table, SAY)]
    assert names[-2:] == ["3 more columns are not shown", "Not shown, since the same in every case: modality."]


def facts(refused=(), unlabelled=0):
    part = {"cases": 10, "studies": 10, "patients": 8, "unlabelled": 0}
    return {
        "manifest": {"cases": 25, "studies": 24, "patients": 20},
        "refused": None if refused is None else list(refused),
        "unlabelled": unlabelled,
        "parts": {"train": part, "test": part},
        "shared": {},
        "years": None,
    }


def test_the_flow_names_everyone_who_left_and_why():
    refused = [{"reason": "found no box", "cases": 3, "studies": 1}]
    boxes = flow_boxes(
        facts(refused, 2), evaluated=EVALUATED, left_out={"no_label": 1, "unknown_to_baseline": 0}, say=SAY
    )
    assert [box.title for box in boxes] == ["In the manifest", "Used", "Evaluated, the same cases in every row below"]
    assert boxes[0].left == (
        "Refused, 3 cases + 1 whole studies: found no box",
        "Without a label, and not used: 2 cases",
    )
    assert boxes[1].left == ("Left out, 1 cases: without a label",)
    assert boxes[1].parts[1] == ("Test", "10 cases of 8 patients")
    assert boxes[2].parts == (("Positive", "4 cases"), ("Negative", "5 cases"))


@pytest.mark.parametrize(("refused", "said"), [(None, "not available"), ((), "Nobody was refused")])
def test_nobody_refused_is_not_the_same_as_nobody_knows(refused, said):
    assert said in flow_boxes(facts(refused), evaluated=EVALUATED, left_out={}, say=SAY)[0].left[0]


def test_without_a_record_the_flow_begins_with_the_predictions():
    first, last = flow_boxes(None, evaluated=EVALUATED, left_out={"no_label": 3}, say=SAY)
    assert (first.title, first.counts) == ("In the predictions", "12 cases")
    assert last.counts == "9 cases of 8 patients"
