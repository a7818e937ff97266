"""The contour and the map lie where the source's images do, in series of every kind, as other readers see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from scipy.spatial.transform import Rotation

from medfuse.errors import DataError
from medfuse.io import derived_uid, read_volume
from medfuse.io.dicom_headers import group_headers
from medfuse.io.dicom_seg import read_seg_lesions
from medfuse.io.dicom_source import read_source_series
from medfuse.io.dicom_split import split_series
from medfuse.reporting.dicom_results import DicomResults, write_dicom_results

Make = Callable[..., Any]
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "dicom"
LESION_CATEGORY = "49755003"


def turned(*, spacing: tuple[float, float, float], rotation: Rotation, flip: bool = False) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = rotation.as_matrix() * spacing
    affine[:3, 2] *= -1 if flip else 1
    affine[:3, 3] = (-103.25, 31.5, 250.125)
    return affine


def tilted(degrees: float) -> np.ndarray:
    affine = np.diag([-0.7, -0.7, 3.0, 1.0])
    affine[1, 2] = 3.0 * np.tan(np.radians(degrees))
    return affine


AXIAL = np.diag([-0.7, -0.7, 2.5, 1.0])
CORONAL = np.array([[-0.8, 0, 0, 10.0], [0, 0, 2.0, 20.0], [0, -0.8, 0, -30.0], [0, 0, 0, 1.0]])
GRIDS = {
    "axial": AXIAL,
    "coronal": CORONAL,
    "oblique": turned(spacing=(0.71, 0.71, 1.3), rotation=Rotation.random(rng=7)),
    "reversed": turned(spacing=(0.7, 0.7, 2.5), rotation=Rotation.from_euler("x", 180, degrees=True), flip=True),
    "anisotropic": turned(spacing=(0.6, 1.1, 7.5), rotation=Rotation.random(rng=3)),
    "tilted gantry": tilted(17.0),
}


def pixel_places(dataset: Dataset) -> Iterator[tuple[Dataset, np.ndarray, np.ndarray]]:
    """Yield of each frame its groups, its pixels, and where each lies (LPS mm), from the standard's equation."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float)
    between_rows, between_columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    pixels = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    for groups, plane in zip(dataset.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        row, column = np.indices(plane.shape)
        places = (
            corner
            + column[..., None] * between_columns * orientation[:3]
            + row[..., None] * between_rows * orientation[3:]
        )
        yield groups, plane, places


# Place


def check_map(dataset: Dataset, results: DicomResults) -> None:
    """Each pixel lies where a voxel of the map does, within 0.001 mm, and holds its value."""
    assert results.saliency is not None
    to_index = np.linalg.inv(results.saliency.affine)
    total = 0.0
    for _, plane, places in pixel_places(dataset):
        ras = places * (-1, -1, 1)
        index = np.rint(ras @ to_index[:3, :3].T + to_index[:3, 3])
        back = index @ results.saliency.affine[:3, :3].T + results.saliency.affine[:3, 3]
        assert np.abs(back - ras).max() < 1e-3
        i, j, k = np.moveaxis(index.astype(int), -1, 0)
        assert np.array_equal(plane, results.saliency.voxels[i, j, k])
        total += float(np.abs(plane).sum(dtype=np.float64))
    assert total == pytest.approx(float(np.abs(results.saliency.voxels).sum(dtype=np.float64)), rel=1e-6)


def check_contour(dataset: Dataset, results: DicomResults) -> None:
    assert results.contour is not None
    to_index = np.linalg.inv(results.contour.affine)
    found = np.concatenate([places[plane == 1] for _, plane, places in pixel_places(dataset)]) * (-1, -1, 1)
    index = found @ to_index[:3, :3].T + to_index[:3, 3]
    assert np.abs((index - np.rint(index)) @ results.contour.affine[:3, :3].T).max() < 1e-3
    assert {tuple(p) for p in np.rint(index).astype(int)} == {tuple(p) for p in np.argwhere(results.contour.voxels)}


@pytest.mark.parametrize("grid", GRIDS)
def test_frames_lie_on_the_images_they_name(
    grid: str, write_series: Make, tmp_path: Path, results_on: Make, dicom_errors: Make
) -> None:
    folder = write_series(GRIDS[grid])
    source = read_source_series(folder)
    results = results_on(source)
    assert dicom_errors(write_dicom_results(tmp_path / "out", results, source=source)) == {}
    seg, pm = (pydicom.dcmread(tmp_path / "out" / name) for name in ("seg.dcm", "pm.dcm"))
    check_contour(seg, results)
    check_map(pm, results)
    images = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, folder.iterdir())}
    for groups, plane, places in pixel_places(seg):
        (item,) = groups.DerivationImageSequence[0].SourceImageSequence
        image = images[item.ReferencedSOPInstanceUID]
        assert plane.shape == (image.Rows, image.Columns) and item.SpatialLocationsPreserved == "YES"
        cosines, corner = np.array(image.ImageOrientationPatient, float), np.array(image.ImagePositionPatient, float)
        row, column = np.indices(plane.shape)
        rows, columns = map(float, image.PixelSpacing)
        of_image = corner + column[..., None] * columns * cosines[:3] + row[..., None] * rows * cosines[3:]
        assert np.abs(of_image - places).max() < 1e-3


@pytest.mark.parametrize("grid", [name for name in GRIDS if name != "tilted gantry"])
def test_highdicom_finds_the_same_volume(grid: str, write_series: Make, tmp_path: Path, results_on: Make) -> None:
    import highdicom as hd

    source = read_source_series(write_series(GRIDS[grid]))
    results = results_on(source)
    write_dicom_results(tmp_path / "out", results, source=source)
    volume = hd.imread(tmp_path / "out" / "pm.dcm").get_volume(apply_real_world_transform=False)
    assert results.saliency is not None
    # Its axes are slice, row, column, and its space LPS.
    to_index = np.linalg.inv(results.saliency.affine) @ np.diag([-1, -1, 1, 1]) @ volume.affine
    index = np.rint(to_index[:3, :3] @ np.argwhere(volume.array != 0).T + to_index[:3, 3:]).astype(int)
    assert np.array_equal(results.saliency.voxels[tuple(index)], volume.array[volume.array != 0])
    step = np.abs(to_index - np.rint(to_index)).max() * max(source.shape)
    assert step * np.linalg.norm(results.saliency.affine[:3, :3], axis=0).max() < 1e-3


@pytest.mark.parametrize("grid", ["axial", "oblique", "tilted gantry"])
def test_own_reader_finds_the_region_but_no_lesion(
    grid: str, write_series: Make, tmp_path: Path, results_on: Make
) -> None:
    source = read_source_series(write_series(GRIDS[grid]))
    results = results_on(source)
    write_dicom_results(tmp_path / "out", results, source=source)
    path = tmp_path / "out" / "seg.dcm"
    assert read_seg_lesions(path) == []
    dataset = pydicom.dcmread(path)
    dataset.SegmentSequence[0].SegmentedPropertyCategoryCodeSequence[0].CodeValue = LESION_CATEGORY
    dataset.save_as(tmp_path / "lesion.dcm")
    (lesion,) = read_seg_lesions(tmp_path / "lesion.dcm")
    assert lesion.mask is not None and results.contour is not None
    inside = np.argwhere(lesion.mask.voxels)
    ras = inside @ lesion.mask.affine[:3, :3].T + lesion.mask.affine[:3, 3]
    voxels = np.argwhere(results.contour.voxels)
    expected = voxels @ source.affine[:3, :3].T + source.affine[:3, 3]
    nearest = np.linalg.norm(ras[:, None] - expected[None], axis=2).min(axis=0)
    assert len(ras) == len(expected) and nearest.max() < 1e-3


# Series of every kind

REAL = ("ct_tilt_siemens", "enh_philips_anat", "mosaic_ts1", "mr_sag_anisotropic_matrix", "mr_philips_coronal")


NEEDS_SHARED = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared DICOM cases are absent")


@NEEDS_SHARED
@pytest.mark.parametrize("case", REAL)
def test_objects_of_real_series_are_conformant_and_in_place(
    case: str, tmp_path: Path, results_on: Make, dicom_errors: Make
) -> None:
    source = read_source_series(SHARED / case)
    results = results_on(source)
    paths = write_dicom_results(tmp_path, results, source=source)
    assert dicom_errors(paths) == {}
    volume = read_volume(SHARED / case)
    assert volume.shape == source.shape and np.array_equal(volume.affine, source.affine)
    check_map(pydicom.dcmread(tmp_path / "pm.dcm"), results)
    check_contour(pydicom.dcmread(tmp_path / "seg.dcm"), results)


@NEEDS_SHARED
@pytest.mark.slow
def test_every_shared_series_that_is_read_gives_conformant_objects(
    tmp_path: Path, results_on: Make, page_bytes: Make, dicom_errors: Make
) -> None:
    n_series, wrong = 0, {}
    for folder in sorted(path for path in SHARED.iterdir() if path.is_dir()):
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        try:
            stacks = [stack for headers in group_headers(files).values() for stack in split_series(headers)]
        except DataError:
            continue  # the reader's own tests say what is refused, and why
        for number, stack in enumerate(stacks):
            source = read_source_series(stack)
            results = results_on(source)
            for kind in ("pdf", "png"):
                paths = write_dicom_results(tmp_path / kind, replace(results, page=page_bytes(kind)), source=source)
                wrong |= {f"{folder.name} {number} {name}": found for name, found in dicom_errors(paths).items()}
            check_map(pydicom.dcmread(tmp_path / "pdf" / "pm.dcm"), results)
            check_contour(pydicom.dcmread(tmp_path / "pdf" / "seg.dcm"), results)
            n_series += 1
    assert wrong == {} and n_series > 40


@NEEDS_SHARED
@pytest.mark.parametrize("case", ["enh_philips_fmri_4d", "mosaic_ep2d_asc"])
def test_a_time_point_refers_to_its_own_images(case: str, tmp_path: Path, results_on: Make, dicom_errors: Make) -> None:
    (headers,) = group_headers([path for path in sorted((SHARED / case).rglob("*")) if path.is_file()]).values()
    first, second = split_series(headers)[:2]
    named = []
    for number, stack in enumerate((first, second)):
        source = read_source_series(stack)
        write_dicom_results(tmp_path / str(number), results_on(source), source=source)
        seg = pydicom.dcmread(tmp_path / str(number) / "seg.dcm")
        named.append(
            {
                (item.ReferencedSOPInstanceUID, item.get("ReferencedFrameNumber"))
                for groups in seg.PerFrameFunctionalGroupsSequence
                for item in groups.DerivationImageSequence[0].SourceImageSequence
            }
        )
        assert dicom_errors([tmp_path / str(number) / "seg.dcm"]) == {}
    assert named[0] and not named[0] & named[1]


# Sources


def write_enhanced(path: Path, *, orders: list[list[int]]) -> None:
    """Write an enhanced MR of several time points, its frames in any order of slices."""

    def item(**values: Any) -> Dataset:
        dataset = Dataset()
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        return dataset

    dataset = item(SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1", SOPInstanceUID="2.25.77", Modality="MR")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = "2.25.1", "2.25.2", "2.25.3"
    dataset.PatientID, dataset.ImageType = "Ann", ["ORIGINAL", "PRIMARY", "X", "NONE"]
    dataset.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=[0, 1, 0, 0, 0, -1])],
            PixelMeasuresSequence=[item(PixelSpacing=[0.8, 0.7], SliceThickness=3)],
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[item(TemporalPositionIndex=time)],
            PlanePositionSequence=[item(ImagePositionPatient=[3.0 * k, -20, 50])],
        )
        for time, order in enumerate(orders, start=1)
        for k in order
    ]
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = sum(map(len, orders)), 6, 7
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelData = np.zeros((dataset.NumberOfFrames, 6, 7), "<u2").tobytes()
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def test_frames_of_a_multi_frame_source_are_named(tmp_path: Path, results_on: Make, dicom_errors: Make) -> None:
    write_enhanced(tmp_path / "a.dcm", orders=[[0, 1, 2, 3], [2, 0, 3, 1]])
    (headers,) = group_headers([tmp_path / "a.dcm"]).values()
    source = read_source_series(split_series(headers)[1])
    results = results_on(source)
    paths = write_dicom_results(tmp_path / "out", results, source=source)
    assert dicom_errors(paths) == {}
    seg = pydicom.dcmread(tmp_path / "out" / "seg.dcm")
    for groups, _, places in pixel_places(seg):
        (item,) = groups.DerivationImageSequence[0].SourceImageSequence
        k = round(places[0, 0, 0] / 3.0)
        assert item.ReferencedFrameNumber == 5 + [2, 0, 3, 1].index(k)
    check_contour(seg, results)


def test_series_without_a_frame_of_reference_gets_one_of_its_own(
    write_series: Make, tmp_path: Path, results_on: Make
) -> None:
    folder = write_series()
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        del dataset.FrameOfReferenceUID
        dataset.save_as(path)
    source = read_source_series(folder)
    write_dicom_results(tmp_path / "out", results_on(source), source=source)
    uids = {pydicom.dcmread(tmp_path / "out" / name).FrameOfReferenceUID for name in ("seg.dcm", "pm.dcm")}
    assert uids == {derived_uid("frame of reference", "2.25.12")}
