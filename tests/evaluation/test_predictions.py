import numpy as np
import pandas as pd
import pytest

from medfuse.errors import LabelError, ManifestError
from medfuse.evaluation import read_predictions
from medfuse.evaluation.predictions import case_table, check_predictions

PATIENT = "Jane-Doe-1970"


def small(**changes):
    return pd.DataFrame({"case_id": ["a", "b", "c"], "probability": [0.1, 0.5, 0.9], "label": [0, 1, 1]} | changes)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_least_columns_are_enough_and_both_formats_say_the_same(tmp_path, suffix):
    path = tmp_path / f"p.{suffix}"
    table = small(label=[0.0, None, 1.0], case_id=["007", "008", "1e5"])
    table.to_csv(path, index=False) if suffix == "csv" else table.to_parquet(path)
    read = read_predictions(path)
    assert read["case_id"].tolist() == read["patient_key"].tolist() == ["007", "008", "1e5"]
    assert [label if isinstance(label, str) else None for label in read["label"]] == ["0", None, "1"]
    assert set(read["condition"]) == {"model"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"probability": [0.1, 1.5, -2]}, "row 3, probability.*outside.*1 more row"),
        ({"probability": ["x", "0.5", "0.9"]}, "row 2, probability.*no finite"),
        ({"probability": [0.1, 0.2, np.inf]}, "row 4, probability.*no finite"),
        ({"case_id": ["a", PATIENT, PATIENT]}, "row 4, case_id.*second row"),
        ({"case_id": ["a", "", "c"]}, "row 3, case_id.*empty"),
    ],
)
def test_wrong_row_is_named_by_number_and_column_without_its_value(tmp_path, changes, words):
    path = tmp_path / "p.csv"
    small(**changes).to_csv(path, index=False)
    with pytest.raises(ManifestError, match=words) as refusal:
        read_predictions(path)
    assert PATIENT not in str(refusal.value)


def test_missing_column_is_named_with_the_nearest(tmp_path):
    small().rename(columns={"probability": "probabilty"}).to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(ManifestError, match=r"no column 'probability'.*'probabilty'"):
        read_predictions(tmp_path / "p.csv")


def test_unreadable_files_are_refused(tmp_path):
    for name, content in [("p.txt", "x"), ("p.parquet", "no parquet"), ("p.csv", "")]:
        (tmp_path / name).write_text(content)
        with pytest.raises(ManifestError):
            read_predictions(tmp_path / name)
    with pytest.raises(ManifestError, match="no such file"):
        read_predictions(tmp_path / "absent.csv")


def test_cases_missing_under_a_condition_or_unlabelled_are_left_out_and_counted():
    rows = [(c, k, 0.5, label) for k in ("image", "text") for c, label in [("a", 0), ("b", 1), ("c", None), ("d", 1)]]
    table = pd.DataFrame(rows, columns=["case_id", "condition", "probability", "label"])
    table = table[~((table.case_id == "d") & (table.condition == "text"))]
    cases = case_table(check_predictions(table))
    assert cases.probabilities.index.tolist() == ["a", "b"]
    assert cases.labels.tolist() == [False, True]
    assert cases.notes == (
        "1 case left out: without a label.",
        "1 case left out: not predicted under every condition.",
    )


def test_of_two_classes_the_second_given_is_positive_unless_named():
    rows = [
        ("a", "benign", 0.8, "benign"),
        ("a", "malignant", 0.2, "benign"),
        ("b", "benign", 0.3, "malignant"),
        ("b", "malignant", 0.7, "malignant"),
    ]
    table = check_predictions(pd.DataFrame(rows, columns=["case_id", "class", "probability", "label"]))
    assert case_table(table, positive="benign").labels.tolist() == [True, False]
    assert case_table(table, positive="benign").notes == ()
    cases = case_table(table)
    assert "“malignant”, the second one given" in cases.notes[0]
    assert cases.labels.tolist() == [False, True]
    assert cases.probabilities["model"].tolist() == [0.2, 0.7]


def test_unknown_target_is_named_with_the_nearest():
    table = check_predictions(small(target=["malignancy"] * 3))
    with pytest.raises(ManifestError, match="did you mean 'malignancy'"):
        case_table(table, target="malignanc")


def test_a_case_with_two_labels_is_refused():
    table = small(case_id=["a", "a", "b"], condition=["image", "text", "text"])
    with pytest.raises(ManifestError, match="two values of label"):
        case_table(check_predictions(table))


def test_class_names_without_a_class_column_are_refused():
    with pytest.raises(LabelError, match="different labels"):
        case_table(check_predictions(small(label=["no", "yes", "yes"])))
