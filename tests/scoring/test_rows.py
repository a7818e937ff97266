"""Every row of one model has the same columns, whatever is in it."""

import math

from medfuse.errors import DataError
from medfuse.scoring.rows import RowLayout
from medfuse.types import Target

TARGETS = (Target("malignancy", "binary", ("no", "yes")), Target("grade", "ordinal", ("1", "2", "3")))
NAMES = ("malignancy", "grade_1", "grade_2", "grade_3")


def test_a_row_has_each_probability_together_and_by_each_modality_alone() -> None:
    row = RowLayout(TARGETS, ("image", "text"), "m1").blank()
    probabilities = [f"probability_{prefix}{name}" for prefix in ("", "image_", "text_") for name in NAMES]
    assert {name for name in row if name.startswith("probability_")} == set(probabilities)
    assert all(math.isnan(row[name]) for name in probabilities)
    assert row["set_malignancy"] == row["set_grade"] == "" and row["model_id"] == "m1" and row["seconds"] == 0.0


def test_a_model_of_one_modality_is_asked_in_one_way() -> None:
    row = RowLayout(TARGETS[:1], ("image",), "m1").blank()
    assert [name for name in row if name.startswith("probability_")] == [
        "probability_malignancy", "probability_image_malignancy",
    ]  # fmt: skip


def test_a_refused_case_has_the_columns_of_any_and_took_no_time_of_the_model() -> None:
    layout = RowLayout(TARGETS, ("image", "text"), "m1")
    (row,) = layout.refused("S1", [("2", "read", DataError("series", "found nothing", expected="slices"))])
    assert list(row) == list(layout.blank())
    told = {name: row[name] for name in ("study_key", "lesion_id", "status", "stage", "seconds")}
    assert told == {"study_key": "S1", "lesion_id": "2", "status": "refused", "stage": "read", "seconds": 0.0}
    assert "found nothing; expected slices" in row["reason"]
