"""Parts of a volume that are read when they are asked for, against the volume read whole."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medfuse.errors import AmbiguousVolumeError, ManifestError, PixelError, VolumeError
from medfuse.io import (
    LesionEntry,
    Pseudonymizer,
    SeriesIdentity,
    StudyEntry,
    read_manifest,
    read_study,
    read_volume,
    write_dicom_series,
    write_nifti,
)
from medfuse.io.series_files import SeriesFiles
from medfuse.io.volumes import _sources, open_source, source_files
from medfuse.types import StoredVolume, Volume

NAMES = Pseudonymizer(bytes(32))
SHAPE = (9, 8, 7)
KINDS = ("dicom", "nii", "nii.gz", "float", "zip", "headers", "stack", "files")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("sources")
    affine = np.diag([-0.7, -0.8, 2.5, 1.0])
    affine[:3, 3] = (10, 20, -30)
    voxels = np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)
    volume = Volume(voxels, affine, "HU")
    series = folder / "series"
    write_dicom_series(volume, series, identity=SeriesIdentity("P", "2.25.1", "2.25.2", "2.25.3"))
    for name in ("a.nii", "a.nii.gz"):
        write_nifti(volume, folder / name)
    write_nifti(Volume(voxels / np.float32(3), affine), folder / "float.nii.gz")
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(series.iterdir()):
            archive.write(path, path.name)
    (stack,) = _sources(series)
    return {
        "dicom": series,
        "nii": folder / "a.nii",
        "nii.gz": folder / "a.nii.gz",
        "float": folder / "float.nii.gz",
        "zip": folder / "a.zip",
        "headers": stack.slices,
        "stack": stack,
        "files": SeriesFiles.of(str(folder), [f"series/{path.name}" for path in series.iterdir()]),
    }


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_part_holds_what_the_whole_holds_there(sources: dict[str, object], kind: str, data: st.DataObject) -> None:
    whole = read_volume(sources[kind]) if isinstance(sources[kind], Path) else read_volume(sources["dicom"])
    stored = open_source(sources[kind])
    assert isinstance(stored, StoredVolume)
    assert stored.shape == whole.shape
    np.testing.assert_array_equal(stored.affine, whole.affine)
    assert (stored.unit, stored.modality) == (whole.unit, whole.modality)
    starts = [data.draw(st.integers(0, n - 1)) for n in SHAPE]
    i, j, k = (slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(starts, SHAPE, strict=True))
    np.testing.assert_array_equal(stored.read((i, j, k)), whole.read((i, j, k)))


def test_files_of_a_source_are_those_that_it_is_read_from(sources: dict[str, object]) -> None:
    slices = sorted(sources["dicom"].iterdir())
    for kind in ("dicom", "headers", "stack", "files"):
        assert source_files(sources[kind]) == slices
    assert source_files(sources["nii"]) == [sources["nii"]]
    assert source_files(sources["zip"]) == [sources["zip"]]
    inside = open_source(sources["zip"])
    assert inside.shape == SHAPE


def test_slices_within_a_zip_lie_in_the_zip(sources: dict[str, object]) -> None:
    (stack,) = _sources(sources["zip"])
    assert source_files(stack) == [sources["zip"]]


def test_file_of_a_pair_comes_with_its_voxels(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Pair(np.zeros((2, 2, 2), np.int16), np.eye(4)), tmp_path / "a.hdr")
    assert source_files(tmp_path / "a.hdr") == [tmp_path / "a.hdr", tmp_path / "a.img"]


def test_slice_that_is_not_needed_may_be_damaged(sources: dict[str, object], tmp_path: Path) -> None:
    volume = read_volume(sources["dicom"])
    paths = write_dicom_series(volume, tmp_path / "s", identity=SeriesIdentity("P", "2.25.1", "2.25.2", "2.25.3"))
    stored = open_source(tmp_path / "s")
    paths[-1].write_bytes(paths[-1].read_bytes()[:-60])
    every, last = slice(0, 3), slice(SHAPE[2] - 1, SHAPE[2])
    parts = {True: (every, slice(0, 8), slice(0, 2)), False: (every, slice(0, 8), last)}
    np.testing.assert_array_equal(stored.read(parts[True]), volume.read(parts[True]))
    with pytest.raises(PixelError):
        stored.read(parts[False])


def test_nan_is_refused_in_the_part_that_holds_it(tmp_path: Path) -> None:
    voxels = np.zeros((4, 4, 4), np.float32)
    voxels[3, 3, 3] = np.nan
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii")
    stored = open_source(tmp_path / "a.nii")
    assert not stored.read((slice(0, 4), slice(0, 4), slice(0, 3))).any()
    with pytest.raises(PixelError, match="NaN"):
        stored.read((slice(3, 4), slice(3, 4), slice(3, 4)))


def test_what_is_no_one_volume_is_refused_as_by_reading_it(sources: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(AmbiguousVolumeError):
        open_source(sources["nii"].parent)
    (tmp_path / "cut.nii").write_bytes(sources["nii"].read_bytes()[:400])
    with pytest.raises(VolumeError, match="truncated"):
        open_source(tmp_path / "cut.nii")
    with pytest.raises(VolumeError):
        open_source(tmp_path / "absent.nii")


def test_study_without_its_voxels_has_the_same_lesions(sources: dict[str, object], tmp_path: Path) -> None:
    volume = read_volume(sources["nii"])
    mask = np.zeros(SHAPE, bool)
    mask[2:6, 3, 1:4] = True
    write_nifti(Volume(mask, volume.affine), tmp_path / "mask.nii.gz")
    lesions = (LesionEntry("1", mask=tmp_path / "mask.nii.gz"),)
    entry = StudyEntry("2.25.1", "P", {"image": sources["nii"]}, lesions=lesions)
    (read,), (stored,) = (read_study(entry, pseudonymizer=NAMES, whole=whole).lesions for whole in (True, False))
    assert (read.centre, read.size_mm) == (stored.centre, stored.size_mm)
    assert read.size_mm == pytest.approx((4 * 0.7, 0.8, 3 * 2.5))


ROW = {"patient_id": "P", "study_uid": "2.25.1", "report_text": "Nodule.", "roi_x_mm": 1, "roi_y_mm": 2, "roi_z_mm": 3}
SIZE = {"roi_size_x_mm": 10, "roi_size_y_mm": 20, "roi_size_z_mm": 5.5}


def test_manifest_may_give_a_lesion_as_a_box(tmp_path: Path) -> None:
    pd.DataFrame([{**ROW, **SIZE}]).to_csv(tmp_path / "manifest.csv", index=False)
    (lesion,) = read_manifest(tmp_path / "manifest.csv").entries()[0].lesions
    assert (lesion.centre, lesion.size_mm) == ((1, 2, 3), (10, 20, 5.5))


@pytest.mark.parametrize(
    "cells",
    [
        {**ROW, **SIZE, "roi_size_z_mm": ""},
        {**ROW, **SIZE, "roi_size_z_mm": 0},
        {**ROW, **SIZE, "roi_size_x_mm": "wide"},
        {**ROW, **SIZE, "roi_x_mm": "", "roi_y_mm": "", "roi_z_mm": ""},
    ],
)
def test_part_of_a_box_is_refused_by_row_and_column(tmp_path: Path, cells: dict[str, object]) -> None:
    pd.DataFrame([cells]).to_csv(tmp_path / "manifest.csv", index=False)
    with pytest.raises(ManifestError, match=r"row 2.*roi_size_"):
        read_manifest(tmp_path / "manifest.csv")
