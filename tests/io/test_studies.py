from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medfuse.errors import DataError, GeometryError, LesionPositionError, MedfuseError, ReportTextError, VolumeError
from medfuse.io import LesionEntry, Pseudonymizer, StudyEntry, read_study, studies, write_nifti
from medfuse.types import ReportText, Volume

NAMES = Pseudonymizer(bytes(32))


@pytest.fixture
def entry(tmp_path: Path, volume: Volume) -> StudyEntry:
    write_nifti(volume, tmp_path / "image.nii.gz")
    (tmp_path / "report.txt").write_text("A nodule.")
    return StudyEntry("2.25.1", "Ann", {"image": tmp_path / "image.nii.gz"}, tmp_path / "report.txt")


def with_mask(entry: StudyEntry, mask: Volume) -> StudyEntry:
    path = entry.images["image"].with_name("mask.nii.gz")
    write_nifti(mask, path)
    return replace(entry, lesions=(LesionEntry("1", mask=path),))


def test_study_has_pseudonyms_its_image_and_its_report(entry: StudyEntry, volume: Volume) -> None:
    study = read_study(replace(entry, unit="HU"), pseudonymizer=NAMES)
    assert (study.study_key, study.patient_key) == (NAMES.study("2.25.1"), NAMES.patient("Ann"))
    assert np.array_equal(study.volumes["image"].voxels, volume.voxels) and study.volumes["image"].unit == "HU"
    assert study.report is not None and study.report.text == "A nodule." and study.lesions == ()


def test_mask_centroid_is_the_position(entry: StudyEntry, volume: Volume) -> None:
    mask = np.zeros(volume.voxels.shape, bool)
    mask[1:4, 2, 1:3] = True
    (lesion,) = read_study(with_mask(entry, Volume(mask, volume.affine)), pseudonymizer=NAMES).lesions
    assert lesion.centre == pytest.approx(tuple((volume.affine @ [2, 2, 1.5, 1])[:3]), abs=1e-4)


def test_mask_on_another_grid_is_refused(entry: StudyEntry, volume: Volume) -> None:
    mask = np.ones(volume.voxels.shape, bool)
    moved = volume.affine.copy()
    moved[0, 0] *= -1
    with pytest.raises(GeometryError, match="mask whose affine"):
        read_study(with_mask(entry, Volume(mask, moved)), pseudonymizer=NAMES)
    with pytest.raises(GeometryError, match="mask of shape"):
        read_study(with_mask(entry, Volume(mask[1:], volume.affine)), pseudonymizer=NAMES)
    with pytest.raises(LesionPositionError, match="empty mask"):
        read_study(with_mask(entry, Volume(~mask, volume.affine)), pseudonymizer=NAMES)


@pytest.mark.parametrize(
    ("index", "inside"), [((-0.45, 0, 0), True), ((-0.55, 0, 0), False), ((3, 5.45, 2), True), ((3, 5.6, 2), False)]
)
def test_lesion_must_lie_in_the_image(entry: StudyEntry, volume: Volume, index, inside: bool) -> None:
    x, y, z = (volume.affine @ [*index, 1])[:3]
    placed = replace(entry, lesions=(LesionEntry("1", centre=(x, y, z)),))
    if inside:
        assert read_study(placed, pseudonymizer=NAMES).lesions[0].centre == (x, y, z)
    else:
        with pytest.raises(LesionPositionError, match="outside the image"):
            read_study(placed, pseudonymizer=NAMES)


def test_one_bad_lesion_leaves_the_others(entry: StudyEntry) -> None:
    good, bad = LesionEntry("1", centre=(9.0, 19.0, -28.0)), LesionEntry("2", centre=(900.0, 0.0, 0.0))
    worse = LesionEntry("3", refusal=VolumeError("lesion", "found no such series"))
    refusals: list[tuple[str, MedfuseError]] = []
    study = read_study(replace(entry, lesions=(good, bad, worse)), pseudonymizer=NAMES, refusals=refusals)
    assert [lesion.lesion_id for lesion in study.lesions] == ["1"]
    assert [lesion_id for lesion_id, _ in refusals] == ["2", "3"]
    with pytest.raises(LesionPositionError):
        read_study(replace(entry, lesions=(good, bad)), pseudonymizer=NAMES)
    with pytest.raises(DataError, match="no lesion that can be read, of 2"):
        read_study(replace(entry, lesions=(bad, worse)), pseudonymizer=NAMES, refusals=refusals)


def test_each_image_is_read_once_and_only_if_needed(entry: StudyEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    whole = studies.read_source
    monkeypatch.setattr(studies, "read_source", lambda source, unit: read.append(source) or whole(source, unit=unit))
    path = entry.images["image"]
    lesions = tuple(LesionEntry(str(n), channels={"image": "a"}) for n in range(3))
    study = read_study(replace(entry, images={"a": path, "b": path}, lesions=lesions), pseudonymizer=NAMES)
    assert len(read) == 1 and list(study.volumes) == ["a"]


def test_lesions_own_text_is_kept_apart(entry: StudyEntry) -> None:
    lesion = LesionEntry("1", report=ReportText("Own words."))
    study = read_study(replace(entry, lesions=(lesion,)), pseudonymizer=NAMES)
    assert study.lesions[0].text == ReportText("Own words.") and study.report is not None
    with pytest.raises(ReportTextError, match="empty"):
        read_study(replace(entry, lesions=(LesionEntry("1", report=ReportText(" ")),)), pseudonymizer=NAMES)


def test_report_without_image_is_a_study(entry: StudyEntry) -> None:
    study = read_study(replace(entry, images={}), pseudonymizer=NAMES)
    assert study.volumes == {} and study.report is not None


def test_known_refusal_is_raised_and_ids_are_not_shown(entry: StudyEntry) -> None:
    with pytest.raises(VolumeError, match="two patients"):
        read_study(replace(entry, refusal=VolumeError("study", "found two patients")), pseudonymizer=NAMES)
    assert "Ann" not in repr(entry) and "2.25" not in repr(entry) and "image.nii" not in repr(entry)
