from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.path import Path as Polygon

from medfuse.cli import main
from medfuse.cohorts import LidcOptions, Nodule, build_cohort
from medfuse.cohorts import lidc as lidc_module
from medfuse.cohorts.lidc_ct import ct_lesion, find_ct_series
from medfuse.errors import DataError, GeometryError, UsageError, VolumeError
from medfuse.io import Pseudonymizer, SeriesIdentity, read_manifest, read_study, read_volume, write_dicom_series
from medfuse.types import Volume

ORIGIN_LPS = (-171.5, -182.25)
LUNG, TISSUE = -850, 100


def scan_volume(nodule: Nodule, *, z_shift: float = 0.0, spacing: float | None = None) -> Volume:
    """Paint a nodule into its scan's grid, with the slices that it needs and a few more."""
    scan, contours = nodule.scan, nodule.reporting.contours
    step, pixel = scan.slice_spacing_mm, spacing or scan.pixel_spacing_mm
    z_low = min(c.z_mm for c in contours) - 3 * step
    n_slices = round((max(c.z_mm for c in contours) - z_low) / step) + 4
    voxels = np.full((512, 512, n_slices), LUNG, dtype=np.int16)
    for contour in contours:
        low, high = contour.points.min(axis=0), contour.points.max(axis=0)
        grid = np.stack(np.meshgrid(*[np.arange(a, b + 1) for a, b in zip(low, high, strict=True)], indexing="ij"), -1)
        inside = Polygon(contour.points).contains_points(grid.reshape(-1, 2)).reshape(grid.shape[:2])
        inside[tuple((contour.points - low).T)] = False  # an outline is outside its nodule
        part = voxels[low[0] : high[0] + 1, low[1] : high[1] + 1, round((contour.z_mm - z_low) / step)]
        part[inside] = TISSUE if contour.inclusion else LUNG
    affine = np.diag([-pixel, -pixel, step, 1.0])
    affine[:3, 3] = (-ORIGIN_LPS[0], -ORIGIN_LPS[1], z_low + z_shift)
    return Volume(voxels, affine, "HU")


def write_scan(nodule: Nodule, folder: Path, **changed: float) -> Volume:
    volume = scan_volume(nodule, **changed)
    scan = nodule.scan
    identity = SeriesIdentity(
        patient_id=scan.patient_id,
        study_uid=scan.study_instance_uid,
        series_uid=scan.series_instance_uid,
        frame_of_reference_uid="2.25.7",
    )
    write_dicom_series(volume, folder, identity=identity)
    return volume


@pytest.fixture(scope="module")
def nodules(lidc_nodules: list[Nodule]) -> list[Nodule]:
    """Two nodules of one scan, one of another."""
    first = [n for n in lidc_nodules if n.scan.patient_id == "LIDC-IDRI-0003"][:1]
    return [*first, *[n for n in lidc_nodules if n.scan.patient_id == "LIDC-IDRI-0005"][:1]]


def test_crop_mask_and_centre_lie_where_the_nodule_is_in_the_scan(tmp_path: Path, lidc_nodules: list[Nodule]) -> None:
    for number, nodule in enumerate([n for n in lidc_nodules if n.diameter_mm > 6][:400:100]):
        whole = write_scan(nodule, tmp_path / str(number))
        source = find_ct_series(tmp_path / str(number), [nodule])[nodule.scan.series_instance_uid]
        assert not isinstance(source, DataError)
        volume, mask, centre = ct_lesion(nodule, source)
        painted = np.argwhere(whole.voxels == TISSUE)
        expected = (whole.affine @ [*painted.mean(axis=0), 1])[:3]
        assert np.abs(np.array(centre) - expected).max() < nodule.scan.pixel_spacing_mm / 2
        start = np.rint((np.linalg.inv(whole.affine) @ volume.affine)[:3, 3]).astype(int)
        cut = tuple(slice(a, a + n) for a, n in zip(start, volume.voxels.shape, strict=True))
        assert np.array_equal(volume.voxels, whole.voxels[cut]) and volume.unit == "HU"
        assert np.array_equal(mask.affine, volume.affine)
        both = (mask.voxels & (volume.voxels == TISSUE)).sum()
        assert 2 * both / (mask.voxels.sum() + len(painted)) > 0.95  # Dice


@pytest.mark.parametrize(
    ("changed", "message"), [({"z_shift": 0.4}, "z is that of no slice"), ({"spacing": 0.9}, "another PixelSpacing")]
)
def test_series_that_is_not_the_annotated_one_is_refused(
    tmp_path: Path, nodules: list[Nodule], changed: dict[str, float], message: str
) -> None:
    write_scan(nodules[0], tmp_path, **changed)
    source = find_ct_series(tmp_path, nodules[:1])[nodules[0].scan.series_instance_uid]
    assert not isinstance(source, DataError)
    with pytest.raises(GeometryError, match=message):
        ct_lesion(nodules[0], source)


def test_absent_slice_of_a_contour_is_refused(tmp_path: Path, nodules: list[Nodule]) -> None:
    write_scan(nodules[0], tmp_path)
    for path in sorted(tmp_path.glob("*.dcm"))[5:]:
        path.unlink()
    source = find_ct_series(tmp_path, nodules[:1])[nodules[0].scan.series_instance_uid]
    assert not isinstance(source, DataError)
    with pytest.raises(GeometryError, match="z is that of no slice"):
        ct_lesion(nodules[0], source)


def test_cohort_has_the_scans_that_are_there_and_names_the_others(
    tmp_path: Path, nodules: list[Nodule], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lidc_module, "load_nodules", lambda **options: nodules)
    write_scan(nodules[0], tmp_path / "dicom" / "any" / "layout")
    out = tmp_path / "cohort"
    arguments = ["cohort", "lidc", "--image", "ct", "--dicom", str(tmp_path / "dicom"), "--out", str(out), "--quiet"]
    assert main(arguments) == 3
    manifest = read_manifest(out / "manifest.csv")
    assert len(manifest.frame) == 1 and manifest.frame["study_uid"].item() == nodules[0].scan.study_instance_uid
    skipped = pd.read_csv(out / "skipped.csv")
    assert skipped["study"].tolist() == [f"scan_{nodules[1].scan.scan_id:04d}"]
    assert "found no such series" in skipped["reason"].item()
    assert "1 nodules are left out" in (out / "SOURCE.md").read_text()
    study = read_study(manifest.entries()[0], pseudonymizer=Pseudonymizer(bytes(32)))
    voxels = read_volume(out / manifest.frame["image_path"].item()).voxels
    assert voxels.max() == TISSUE and study.lesions[0].centre is not None
    write_scan(nodules[1], tmp_path / "dicom" / "second")
    assert main(arguments) == 0
    assert len(read_manifest(out / "manifest.csv").frame) == 2


def test_folder_without_any_scan_is_wrong_use(
    tmp_path: Path, nodules: list[Nodule], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lidc_module, "load_nodules", lambda **options: nodules)
    (tmp_path / "dicom").mkdir()
    with pytest.raises(UsageError, match="found no CT of a nodule"):
        build_cohort(tmp_path / "out", options=LidcOptions(image="ct"), dicom=tmp_path / "dicom")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "dicom", "message"),
    [
        (LidcOptions(image="ct"), None, "found no --dicom"),
        (LidcOptions(), Path("x"), "found --dicom with --image rendered"),
        (LidcOptions(image="ct", size="normalise"), Path("x"), "--size normalise"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path: Path, options, dicom, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_cohort(tmp_path / "out", options=options, dicom=dicom)


def test_series_that_is_no_volume_is_named(tmp_path: Path, nodules: list[Nodule]) -> None:
    write_scan(nodules[0], tmp_path)
    sorted(tmp_path.glob("*.dcm"))[3].unlink()
    source = find_ct_series(tmp_path, nodules[:1])[nodules[0].scan.series_instance_uid]
    assert isinstance(source, VolumeError) and "missing" in str(source)
