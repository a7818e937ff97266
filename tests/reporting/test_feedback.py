import json

import pytest

from medfuse.errors import UsageError
from medfuse.reporting.feedback import FEEDBACK, collect_feedback, feedback_form
from medfuse.types import CaseId, Prediction


def form(folder, name="1", *, classes=("benign", "malignant"), values=(0.3, 0.7), **filled):
    answer = Prediction(CaseId("S1", name), "cancer", classes, {"image": values}, 0.5, ("image",), "m1")
    (folder / name).mkdir()
    (folder / name / FEEDBACK).write_text(json.dumps({**feedback_form(answer), **filled}), encoding="utf-8")


@pytest.mark.parametrize(
    ("filled", "label", "agrees"),
    [
        ({"view": "agree"}, "malignant", "yes"),
        ({"view": "Disagree "}, "benign", "no"),
        ({"label": "benign"}, "benign", "no"),
        ({"view": "cannot  tell"}, "", ""),
    ],
)
def test_a_view_becomes_a_label_that_may_only_train(tmp_path, filled, label, agrees):
    form(tmp_path, reader="AB", **filled)
    table, refused = collect_feedback(tmp_path)
    [row] = table.to_dict("records")
    assert (row["label"], row["agrees"], row["training_only"]) == (label, agrees, "yes")
    assert (row["study_key"], row["lesion_id"], row["reader"], row["model_id"]) == ("S1", "1", "AB", "m1")
    assert refused == []


def test_forms_that_nobody_filled_in_give_no_row(tmp_path):
    form(tmp_path)
    table, refused = collect_feedback(tmp_path)
    assert table.empty and not refused


@pytest.mark.parametrize(
    "filled",
    [{"view": "maybe"}, {"label": "cyst"}, {"view": "agree", "label": "benign"}, {"view": "cannot tell", "label": "benign"}],
)  # fmt: skip
def test_a_form_that_contradicts_itself_is_refused_and_the_others_kept(tmp_path, filled):
    form(tmp_path, "1", **filled)
    form(tmp_path, "2", view="agree")
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / FEEDBACK).write_text("{", encoding="utf-8")
    table, refused = collect_feedback(tmp_path)
    assert list(table["lesion_id"]) == ["2"]
    assert [where for where, _ in refused] == [f"1/{FEEDBACK}", f"3/{FEEDBACK}"]


def test_who_disagrees_with_one_of_several_classes_must_name_another(tmp_path):
    form(tmp_path, classes=("a", "b", "c"), values=(0.2, 0.7, 0.1), view="disagree")
    table, refused = collect_feedback(tmp_path)
    assert table.empty and "without a label" in refused[0][1]


def test_a_folder_without_forms_is_a_wrong_use(tmp_path):
    with pytest.raises(UsageError, match="feedback"):
        collect_feedback(tmp_path)
