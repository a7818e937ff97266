from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.config import SeriesRule, load_config
from medfuse.errors import AmbiguousVolumeError, ConfigError, VolumeError
from medfuse.io.series_rule import choose_series, choose_time_point


def row(uid: str, **values: object) -> dict[str, object]:
    return {"series_uid": uid, "is_volume": True, "modality": "CT", "reason": ""} | values


THIN = row("1", slice_thickness_mm=1.0, kernel="B70f", n_slices=300)
SOFT = row("2", slice_thickness_mm=1.0, kernel="B30f", n_slices=280)
THICK = row("3", slice_thickness_mm=5.0, kernel="B30f", n_slices=60)
PET = row("4", slice_thickness_mm=3.0, modality="PT", n_slices=100)
SCOUT = row("5", is_volume=False, reason="found localizers only")


@pytest.mark.parametrize(
    ("rule", "uid"),
    [
        ({"modality": "PT"}, "4"),
        ({"modality": "ct", "thickness_mm": (4, 6)}, "3"),
        ({"modality": "CT", "kernels": ("b70F",)}, "1"),
        ({"modality": "CT", "kernels": ("B30f",), "prefer": "thinnest"}, "2"),
        ({"modality": "CT", "prefer": "thickest"}, "3"),
        ({"prefer": "most_slices"}, "1"),
    ],
)
def test_rule_chooses_one_whatever_the_order(rule: dict[str, object], uid: str) -> None:
    for rows in permutations([THIN, SOFT, THICK, PET, SCOUT]):
        assert choose_series(rows, SeriesRule(**rule)) == uid


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        ({}, AmbiguousVolumeError, "4 series that are volumes, more than one: CT 1 mm kernel B30f 280 images; CT 1 mm"),
        ({"modality": "CT", "prefer": "thinnest"}, AmbiguousVolumeError, "2 series"),
        ({"modality": "MR"}, VolumeError, "no series that the model's rule allows.*PT 3 mm 100 images; expected MR"),
        ({"thickness_mm": (0, 0.5)}, VolumeError, "expected any modality, 0 to 0.5 mm"),
    ],
)
def test_tie_and_none_are_refused_listing_what_is_there(rule: dict[str, object], error, message: str) -> None:
    with pytest.raises(error, match=message):
        choose_series([THIN, SOFT, THICK, PET, SCOUT], SeriesRule(**rule))


def test_study_without_a_volume_is_refused_with_its_reasons() -> None:
    film = row("6", is_volume=False, modality="DX", reason="found a projection image (DX)")
    with pytest.raises(VolumeError, match=r"found a projection image \(DX\); found localizers only"):
        choose_series([SCOUT, film], SeriesRule())


def test_unknown_thickness_is_never_within_and_never_preferred() -> None:
    unknown = row("7", slice_thickness_mm=None, slice_step_mm=float("nan"))
    with pytest.raises(VolumeError):
        choose_series([unknown], SeriesRule(thickness_mm=(0, 99)))
    with pytest.raises(AmbiguousVolumeError):
        choose_series([unknown, THIN], SeriesRule(prefer="thinnest"))


def test_nifti_fits_any_rule() -> None:
    image = row("8", modality="", transfer_syntax="NIfTI")
    assert choose_series([image], SeriesRule(modality="CT", kernels=("B30f",), thickness_mm=(0, 1))) == "8"


def test_message_shows_no_value_that_could_be_a_patients() -> None:
    strange = row("2.25.8", kernel="Dr. Smith, Anna; born 1950", modality="CT", patient_id="SMITH")
    with pytest.raises(AmbiguousVolumeError) as caught:
        choose_series([strange, THIN], SeriesRule())
    assert not [secret for secret in ("Smith", "SMITH", "2.25.8", "1950") if secret in str(caught.value)]


@given(st.lists(st.integers(), min_size=1, max_size=9), st.sampled_from(["first", "middle", "last"]))
def test_time_point_is_one_of_them(items: list[int], which: str) -> None:
    chosen = choose_time_point(items, SeriesRule(time_point=which))
    assert chosen == {"first": items[0], "middle": items[len(items) // 2], "last": items[-1]}[which]


def test_several_time_points_are_refused_without_a_rule() -> None:
    assert choose_time_point(["one"], SeriesRule()) == "one"
    with pytest.raises(AmbiguousVolumeError, match="4D series of 2 volumes"):
        choose_time_point(["one", "two"], SeriesRule())


def test_rule_is_part_of_the_configuration() -> None:
    content = {"targets": [{"name": "x", "classes": ["a", "b"]}]}
    series = {"modality": "CT", "thickness_mm": [0.5, 2.5], "prefer": "thinnest"}
    config = load_config({**content, "data": {"series": series}})
    assert config.data.series == SeriesRule(modality="CT", thickness_mm=(0.5, 2.5), prefer="thinnest")
    assert load_config(content).data.series == SeriesRule()
    with pytest.raises(ConfigError, match="least thickness first"):
        load_config(content, overrides=["data.series.thickness_mm=[3, 1]"])
