import numpy as np
import pandas as pd
import pytest

from medfuse.errors import LabelError, ManifestError
from medfuse.evaluation import agreement_of, auroc, reader_agreement
from medfuse.evaluation.predictions import case_table, check_predictions
from medfuse.evaluation.readings import read_readings


def written(tmp_path, text):
    path = tmp_path / "readings.csv"
    path.write_text(text, encoding="utf-8")
    return path


def cases(n=60, seed=0):
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    table = pd.DataFrame({"case_id": [f"c{i}" for i in range(n)], "patient_key": [f"p{i // 2}" for i in range(n)]})
    table = table.assign(label=label, probability=np.clip(0.3 + 0.3 * label + rng.normal(0, 0.2, n), 0, 1))
    return case_table(check_predictions(table))


def test_readings_are_numbers_by_case_and_reader(tmp_path):
    found = read_readings(written(tmp_path, "case_id,anna,bert\na,1,5\nb,,2.5\n"))
    assert found.loc["a"].tolist() == [1, 5]
    assert np.isnan(found.loc["b", "anna"]) and found.loc["b", "bert"] == 2.5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("case,anna,bert\na,1,2\n", "found no column 'case_id'; expected case_id; found did you mean 'case'"),
        ("case_id,anna\na,1\n", "found 1 columns of readings; expected two readers or more"),
        ("case_id,anna,bert\na,1,2\na,2,1\n", "row 3, case_id: found a case twice"),
        ("case_id,anna,bert\na,1,2\nb,1,SECRET\n", "row 3, bert: found no finite number"),
        ("case_id,anna,bert\na,1,inf\n", "row 2, bert: found no finite number"),
    ],
)
def test_a_wrong_table_is_refused_by_place_and_never_by_value(tmp_path, text, words):
    with pytest.raises(ManifestError) as caught:
        read_readings(written(tmp_path, text))
    assert words.partition("; found did")[0] in str(caught.value) and "SECRET" not in str(caught.value)


def test_agreement_is_over_the_evaluated_cases_alone():
    told = cases()
    rng = np.random.default_rng(1)
    truth = 1 + 4 * told.labels[:, None] + rng.normal(0, 1.5, (60, 3)).round()
    readings = pd.DataFrame(truth, [*told.probabilities.index], ["a", "b", "c"])
    more = pd.concat([readings, pd.DataFrame([[1.0, 5.0, 1.0]], ["unknown"], ["a", "b", "c"])])
    found = agreement_of(told, more.sample(frac=1, random_state=0), condition="model", middle=3)
    p = told.probabilities["model"].to_numpy()
    expected = reader_agreement(truth, middle=3, model=p, clusters=told.patients)
    assert found == expected and found.model is not None
    others = [np.delete(truth, k, axis=1).mean(axis=1) for k in range(3)]
    by_hand = [auroc(mean[mean != 3] > 3, p[mean != 3]).value for mean in others]
    assert found.model.value == pytest.approx(np.mean(by_hand))


def test_readings_of_other_cases_or_of_one_class_are_refused():
    told = cases()
    with pytest.raises(ManifestError, match="found none of the evaluated cases"):
        agreement_of(told, pd.DataFrame({"a": [1.0], "b": [2.0]}, ["other"]), condition="model", middle=3)
    same = pd.DataFrame(np.ones((60, 2)), told.probabilities.index, ["a", "b"])
    with pytest.raises(LabelError, match="both classes"):
        agreement_of(told, same, condition="model", middle=3)
