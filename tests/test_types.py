from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.errors import DataError, GeometryError, LesionPositionError, UsageError
from medfuse.types import (
    CaseId,
    Estimate,
    Explanation,
    Finding,
    Lesion,
    Prediction,
    ReportText,
    Study,
    Target,
    Volume,
)

VOXELS = np.zeros((2, 3, 4))
PREDICTION = Prediction(
    CaseId("S1", "1"), "malignancy", ("no", "yes"), {"image": (0.5, 0.5), "fused": (0.25, 0.75)}, 0.5, ("image",), "m"
)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 3, 4, 1), (0, 3, 4), (2, 3, 0)])
def test_array_that_is_no_volume_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(GeometryError, match="three non-empty axes"):
        Volume(np.zeros(shape), np.eye(4))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_affine_that_is_not_finite_is_refused(value: float) -> None:
    affine = np.eye(4)
    affine[0, 3] = value
    with pytest.raises(GeometryError, match="finite 4 x 4"):
        Volume(VOXELS, affine)


@pytest.mark.parametrize("affine", [np.eye(3), np.ones((4, 4)), np.diag([1.0, 0.0, 1.0, 1.0])])
def test_affine_that_cannot_be_inverted_is_refused(affine: np.ndarray) -> None:
    with pytest.raises(GeometryError):
        Volume(VOXELS, affine)


@given(spacing=st.tuples(*[st.floats(0.1, 10)] * 3), angle=st.floats(-3, 3), flip=st.sampled_from([-1, 1]))
def test_spacing_does_not_change_with_turn_or_flip(
    spacing: tuple[float, float, float], angle: float, flip: int
) -> None:
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    volume = Volume(VOXELS, turn @ np.diag([flip * spacing[0], spacing[1], spacing[2], 1.0]))
    assert volume.spacing_mm == pytest.approx(spacing)


def test_nouns_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Volume(VOXELS, np.eye(4)).unit = "HU"  # type: ignore[misc]


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (3, 3), (4, 3)])
def test_finding_needs_a_span(start: int, end: int) -> None:
    with pytest.raises(DataError, match="no span"):
        Finding("nodule", "present", start, end)


@pytest.mark.parametrize("centre", [(1.0, 2.0), (1.0, 2.0, np.nan), (1.0, np.inf, 3.0), (1.0, 2.0, 3.0, 4.0)])
def test_centre_that_is_no_point_is_refused_without_telling_it(centre: tuple[float, ...]) -> None:
    with pytest.raises(LesionPositionError, match="not three finite numbers") as caught:
        Lesion("1", centre)  # type: ignore[arg-type]
    assert "2.0" not in str(caught.value)


def test_study_has_each_lesion_once() -> None:
    with pytest.raises(DataError, match="two lesions with one lesion_id"):
        Study("S1", "P1", {}, ReportText("A nodule."), (Lesion("1"), Lesion("1")))


def test_study_needs_an_image_or_a_text() -> None:
    with pytest.raises(DataError, match="neither image nor report"):
        Study("S1", "P1", {}, None, (Lesion("1"),))
    assert Study("S1", "P1", {}, None, (Lesion("1", text=ReportText("A nodule.")),)).report is None
    assert Study("S1", "P1", {"image": Volume(VOXELS, np.eye(4))}).report is None


def test_cases_are_ordered_by_study_then_lesion() -> None:
    ids = [CaseId("S2", "1"), CaseId("S1", "2"), CaseId("S1", "1")]
    assert [str(case) for case in sorted(ids)] == ["S1-1", "S1-2", "S2-1"]
    assert len({*ids, CaseId("S2", "1")}) == 3


@pytest.mark.parametrize(
    ("kind", "classes"),
    [
        ("binary", ()),
        ("binary", ("a",)),
        ("binary", ("a", "a")),
        ("binary", ("a", "b", "c")),
        ("multiclass", ("a", "b")),
        ("multiclass", ("a", "b", "b")),
    ],
)
def test_classes_that_do_not_fit_the_kind_are_refused(kind: str, classes: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="target 'grade'"):
        Target("grade", kind, classes)  # type: ignore[arg-type]


def test_binary_target_has_one_output_and_multiclass_one_a_class() -> None:
    assert Target("x", "binary", ("a", "b")).n_outputs == 1
    assert Target("x", "multiclass", ("a", "b", "c")).n_outputs == 3


@pytest.mark.parametrize("values", [(0.5,), (0.5, 0.6), (0.2, 0.3, 0.5), (np.nan, 0.5), ()])
def test_probabilities_are_one_a_class_and_sum_to_1(values: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="do not sum to 1"):
        replace(PREDICTION, probabilities={"fused": values})


def test_fused_condition_answers_where_it_exists() -> None:
    assert PREDICTION.condition == "fused"
    assert replace(PREDICTION, probabilities={"text": (0.5, 0.5)}).condition == "text"


def test_map_on_another_grid_than_its_image_is_refused() -> None:
    grid = np.zeros((2, 2, 2), dtype=np.float32)
    assert Explanation(PREDICTION, image=grid, image_map=grid).text == ""
    for image in (None, np.zeros((2, 2, 3), dtype=np.float32)):
        with pytest.raises(DataError, match="another grid"):
            Explanation(PREDICTION, image=image, image_map=grid)


def test_interval_upside_down_is_refused() -> None:
    with pytest.raises(DataError, match="low above high"):
        Estimate("auroc", 0.5, 0.6, 0.4, 10, 5, "DeLong")


def test_interval_and_set_are_those_of_the_answer() -> None:
    found = replace(
        PREDICTION,
        intervals={"image": ((0.4, 0.6), (0.4, 0.6)), "fused": ((0.1, 0.3), (0.7, 0.9))},
        sets={"image": ("no", "yes"), "fused": ("yes",)},
    )
    assert found.interval == (0.7, 0.9)
    assert found.prediction_set == ("yes",)
    assert PREDICTION.interval is None
    assert PREDICTION.prediction_set is None
