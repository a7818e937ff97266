"""A case's results as DICOM objects: conformant, re-read by others, in the right place, and all of them or none."""

from __future__ import annotations

import logging
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from matplotlib.figure import Figure
from pydicom.dataset import Dataset, FileMetaDataset
from scipy.spatial.transform import Rotation

from medfuse.errors import DataError, GeometryError, MedfuseError, PixelError, VolumeError
from medfuse.io import SeriesIdentity, derived_uid, index_archive, read_volume, write_dicom_series, write_nifti
from medfuse.io.dicom_headers import group_headers
from medfuse.io.dicom_seg import read_seg_lesions
from medfuse.io.dicom_source import SourceSeries, read_source_series
from medfuse.io.dicom_split import split_series
from medfuse.reporting.dicom_results import DicomResults, write_dicom_results
from medfuse.types import CaseId, Prediction, Volume

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "dicom"
DCIODVFY = shutil.which("dciodvfy")
SHAPE = (13, 11, 6)
LESION_CATEGORY = "49755003"

ANSWER = Prediction(
    CaseId("S1", "1"),
    "malignancy",
    ("benign", "malignant"),
    {"image": (0.4, 0.6), "fused": (0.3, 0.7)},
    0.55,
    ("image", "text"),
    "abcdef012345",
    flags=("uncertain",),
    intervals={"fused": ((0.2, 0.45), (0.55, 0.8))},
    interval_kind="Venn-Abers",
    sets={"fused": ("malignant",)},
    set_level=0.9,
)
TEXTURE = Prediction(
    ANSWER.case,
    "texture",
    ("solid", "part-solid", "磨玻璃"),
    {"fused": (0.2, 0.7, 0.1)},
    0.5,
    ("image", "text"),
    ANSWER.model_id,
    sets={"fused": ()},
    set_level=0.9,
)


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


@pytest.fixture
def write_series(tmp_path: Path) -> Callable[..., Path]:
    """Write a series of the study of one patient on an affine."""

    def write(affine: np.ndarray = AXIAL, *, patient: str = "SMITH^ANN", date: str = "20240102") -> Path:
        voxels = np.random.default_rng(0).integers(-900, 900, SHAPE).astype(np.int16)
        identity = SeriesIdentity("P-77", "2.25.1", "2.25.12", "2.25.199", study_date=date)
        folder = tmp_path / "archive" / "series"
        for path in write_dicom_series(Volume(voxels, affine, "HU"), folder, identity=identity):
            dataset = pydicom.dcmread(path)
            dataset.PatientName, dataset.AccessionNumber, dataset.PatientSex = patient, "A-5", "F"
            dataset.StudyTime = "101112" if date else ""
            dataset.save_as(path)
        return folder

    return write


def results_on(source: SourceSeries, **changes: Any) -> DicomResults:
    """Results on part of the source's grid: a signed map, and where it is high."""
    columns, rows, slices = source.shape
    values = np.zeros(source.shape, dtype=np.float32)
    part = (
        slice(columns // 4, columns // 2 + 1),
        slice(rows // 3, rows // 2 + 2),
        slice(slices // 4, slices // 2 + 1),
    )
    values[part] = np.random.default_rng(1).normal(size=values[part].shape)
    whole = Volume(values, source.affine)
    contour = Volume(values >= 0.5 * values.max(), source.affine)
    return replace(
        DicomResults((ANSWER, TEXTURE), whole, contour, method="integrated_gradients, 16 steps", page=page("pdf")),
        **changes,
    )


def page(kind: str) -> bytes:
    figure, file = Figure(figsize=(0.6, 0.4)), BytesIO()
    figure.text(0.1, 0.4, "page")
    figure.savefig(file, format=kind)
    return file.getvalue()


def errors_of(path: Path) -> list[str]:
    assert DCIODVFY is not None
    done = subprocess.run([DCIODVFY, str(path)], capture_output=True, text=True, check=False)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


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


# Conformance


@pytest.mark.skipif(DCIODVFY is None, reason="dciodvfy (Debian: dicom3tools) is not installed")
@pytest.mark.parametrize("grid", GRIDS)
def test_every_object_is_conformant(grid: str, write_series: Callable[..., Path], tmp_path: Path) -> None:
    source = read_source_series(write_series(GRIDS[grid]))
    paths = write_dicom_results(tmp_path / "out", results_on(source), source=source)
    paths += write_dicom_results(tmp_path / "png", results_on(source, page=page("png")), source=source)
    assert {path.name for path in paths} == {"sr.dcm", "seg.dcm", "pm.dcm", "sc.dcm", "pdf.dcm"}
    assert {path.name: errors_of(path) for path in paths} == {path.name: [] for path in paths}


REAL = ("ct_tilt_siemens", "enh_philips_anat", "mosaic_ts1", "mr_sag_anisotropic_matrix", "mr_philips_coronal")


NEEDS_SHARED = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared DICOM cases are absent")


@NEEDS_SHARED
@pytest.mark.parametrize("case", REAL)
def test_objects_of_real_series_are_conformant_and_in_place(case: str, tmp_path: Path) -> None:
    source = read_source_series(SHARED / case)
    results = results_on(source)
    paths = write_dicom_results(tmp_path, results, source=source)
    if DCIODVFY is not None:
        assert {path.name: errors_of(path) for path in paths} == {path.name: [] for path in paths}
    volume = read_volume(SHARED / case)
    assert volume.shape == source.shape and np.array_equal(volume.affine, source.affine)
    check_map(pydicom.dcmread(tmp_path / "pm.dcm"), results)
    check_contour(pydicom.dcmread(tmp_path / "seg.dcm"), results)


@NEEDS_SHARED
@pytest.mark.slow
def test_every_shared_series_that_is_read_gives_conformant_objects(tmp_path: Path) -> None:
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
                paths = write_dicom_results(tmp_path / kind, replace(results, page=page(kind)), source=source)
                if DCIODVFY is not None:
                    wrong |= {f"{folder.name} {number} {path.name}": e for path in paths if (e := errors_of(path))}
            check_map(pydicom.dcmread(tmp_path / "pdf" / "pm.dcm"), results)
            check_contour(pydicom.dcmread(tmp_path / "pdf" / "seg.dcm"), results)
            n_series += 1
    assert wrong == {} and n_series > 40


@NEEDS_SHARED
@pytest.mark.parametrize("case", ["enh_philips_fmri_4d", "mosaic_ep2d_asc"])
def test_a_time_point_refers_to_its_own_images(case: str, tmp_path: Path) -> None:
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
        if DCIODVFY is not None:
            assert errors_of(tmp_path / str(number) / "seg.dcm") == []
    assert named[0] and not named[0] & named[1]


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
def test_frames_lie_on_the_images_they_name(grid: str, write_series: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_series(GRIDS[grid])
    source = read_source_series(folder)
    results = results_on(source)
    write_dicom_results(tmp_path / "out", results, source=source)
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
def test_highdicom_finds_the_same_volume(grid: str, write_series: Callable[..., Path], tmp_path: Path) -> None:
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
    grid: str, write_series: Callable[..., Path], tmp_path: Path
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


# Content


def test_highdicom_reads_the_measurements(write_series: Callable[..., Path], tmp_path: Path) -> None:
    import highdicom as hd

    source = read_source_series(write_series())
    results = results_on(source)
    write_dicom_results(tmp_path / "out", results, source=source)
    report = hd.sr.srread(tmp_path / "out" / "sr.dcm")
    assert isinstance(report, hd.sr.Comprehensive3DSR)
    answer, texture = report.content.get_image_measurement_groups()
    assert [numbers(answer), codes(answer)] == [
        {
            "Probability of cancer": 70.0,
            "Lower end of the interval of the probability": 55.0,
            "Upper end of the interval of the probability": 80.0,
            "Threshold chosen on validation cases": 55.0,
            "Share of sets promised to hold the true class": 90.0,
        },
        [
            ("Class called", "Malignant"),
            ("Class in the prediction set", "Malignant"),
            ("Caution", "uncertain"),
            ("Input used", "image"),
            ("Input used", "text"),
        ],
    ]
    assert numbers(texture)["Probability of texture: 磨玻璃"] == 10.0
    assert ("Class called", "part-solid") in codes(texture)
    assert ("Class in the prediction set", "None: the prediction set is empty") in codes(texture)
    (region,) = report.content.get_volumetric_roi_measurement_groups()
    assert results.contour is not None
    n_voxels, voxel_mm3 = int(results.contour.voxels.sum()), 0.7 * 0.7 * 2.5
    assert numbers(region) == {
        "Volume": pytest.approx(n_voxels * voxel_mm3, abs=1e-3),
        "Share of the map's peak at the contour": 50.0,
    }
    seg = pydicom.dcmread(tmp_path / "out" / "seg.dcm")
    assert region.referenced_segment.referenced_sop_instance_uid == seg.SOPInstanceUID
    assert region.tracking_uid == answer.tracking_uid == seg.SegmentSequence[0].TrackingUID
    named = {item.ReferencedSOPInstanceUID for item in seg.SourceImageSequence}
    assert {
        item.referenced_sop_instance_uid for item in region.referenced_segment.source_images_for_segmentation
    } == named
    evidence = {uid for _, _, uid, _ in report.get_evidence()}
    pm = pydicom.dcmread(tmp_path / "out" / "pm.dcm")
    assert evidence == {image.instance_uid for image in source.images()} | {seg.SOPInstanceUID, pm.SOPInstanceUID}
    assert named < evidence


def numbers(group: Any) -> dict[str, float]:
    return {m.name.meaning: m.value for m in group.get_measurements()}


def codes(group: Any) -> list[tuple[str, str]]:
    kept = ("Class called", "Class in the prediction set", "Caution", "Input used")
    found = [(e.name.meaning, e.value.meaning) for e in group.get_qualitative_evaluations()]
    return [pair for pair in found if pair[0] in kept]


def test_report_says_that_it_is_for_research(write_series: Callable[..., Path], tmp_path: Path) -> None:
    source = read_source_series(write_series())
    paths = write_dicom_results(tmp_path / "out", results_on(source), source=source)
    sr, seg, pm, pdf = (pydicom.dcmread(path) for path in paths)
    assert (
        sr.ContentSequence[-1].TextValue == "Research use only. Not a medical device; not for diagnosis or treatment."
    )
    assert (seg.ContentQualification, pm.ContentQualification) == ("RESEARCH", "RESEARCH")
    assert all("research use only" in dataset.SeriesDescription for dataset in (sr, seg, pm, pdf))
    assert (sr.VerificationFlag, sr.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")


def test_page_comes_back_as_it_was(write_series: Callable[..., Path], tmp_path: Path) -> None:
    from matplotlib.image import imread

    source = read_source_series(write_series())
    pdf, png = page("pdf"), page("png")
    write_dicom_results(tmp_path, DicomResults((ANSWER,), page=pdf), source=source)
    dataset = pydicom.dcmread(tmp_path / "pdf.dcm")
    assert dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength] == pdf
    write_dicom_results(tmp_path, DicomResults((ANSWER,), page=png), source=source)
    shown = pydicom.dcmread(tmp_path / "sc.dcm").pixel_array
    assert np.array_equal(shown, np.rint(imread(BytesIO(png), format="png")[:, :, :3] * 255))
    assert sorted(path.name for path in tmp_path.glob("*.dcm")) == ["sc.dcm", "sr.dcm"]  # the other page is gone


@pytest.mark.parametrize("charset", ["ISO_IR 100", "GB18030", "ISO 2022 IR 6\\ISO 2022 IR 87"])
def test_identity_is_the_studys_own(charset: str, write_series: Callable[..., Path], tmp_path: Path) -> None:
    name = {"ISO_IR 100": "Müller^Jörg", "GB18030": "Wang^XiaoDong=王^小东"}.get(charset, "Yamada=山田^太郎")
    folder = write_series()
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SpecificCharacterSet = charset.split("\\") if "\\" in charset else charset
        dataset.PatientName = name
        dataset.StudyDescription = "chest"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset.PatientAge = "45"  # no valid age: it is left out
            dataset.save_as(path)
    source = read_source_series(folder)
    original = pydicom.dcmread(next(folder.iterdir()))
    for path in write_dicom_results(tmp_path / "out", results_on(source), source=source):
        dataset = pydicom.dcmread(path)
        assert str(dataset.PatientName) == str(original.PatientName) == name
        for keyword in ("PatientID", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber"):
            assert dataset[keyword].value == original[keyword].value != ""
        assert dataset.StudyDescription == "chest" and "PatientAge" not in dataset
        assert dataset.SeriesInstanceUID != original.SeriesInstanceUID
        if path.name in ("seg.dcm", "pm.dcm"):
            assert dataset.FrameOfReferenceUID == original.FrameOfReferenceUID


def test_no_name_is_logged_or_warned_of(
    write_series: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    source = read_source_series(write_series(patient="ODD==NAME"))
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        write_dicom_results(tmp_path / "out", results_on(source), source=source)
    out, err = capfd.readouterr()
    assert warned == [] and "ODD" not in caplog.text + out + err
    assert "ODD" not in repr(source) and "2.25" not in repr(source)
    assert logging.getLogger("highdicom").level == logging.NOTSET


# Identity of the objects


def test_second_run_gives_equal_bytes(write_series: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_series()
    shown, written = page("pdf"), []
    for name in ("one", "two"):
        source = read_source_series(folder)
        written.append(write_dicom_results(tmp_path / name, results_on(source, page=shown), source=source))
        time.sleep(1.01)  # a clock that is read would show
    one, two = written
    assert len(one) == 4
    for first, second in zip(one, two, strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_uids_are_those_of_source_model_and_lesion(write_series: Callable[..., Path], tmp_path: Path) -> None:
    source = read_source_series(write_series())

    def uids(name: str, **changes: Any) -> set[str]:
        results = DicomResults((replace(ANSWER, **changes),), page=page("pdf"))
        paths = write_dicom_results(tmp_path / name, results, source=source)
        found = [pydicom.dcmread(path) for path in paths]
        return {dataset.SOPInstanceUID for dataset in found} | {dataset.SeriesInstanceUID for dataset in found}

    kept = uids("kept")
    assert len(kept) == 4 and all(uid.startswith("2.25.") and len(uid) <= 64 for uid in kept)
    assert uids("other threshold", threshold=0.2) == kept
    assert uids("other key", case=CaseId("another pseudonym", "1")) == kept
    assert not uids("other model", model_id="0") & kept
    assert not uids("other lesion", case=CaseId("S1", "2")) & kept


def test_dates_are_the_images_or_the_given_one(write_series: Callable[..., Path], tmp_path: Path) -> None:
    source = read_source_series(write_series())
    told = DicomResults((ANSWER,))
    (path,) = write_dicom_results(tmp_path / "a", told, source=source)
    dataset = pydicom.dcmread(path)
    assert (dataset.ContentDate, dataset.ContentTime) == ("20240102", "101112")
    assert "InstanceCreationDate" not in dataset
    (path,) = write_dicom_results(tmp_path / "b", told, source=source, created=datetime(2025, 3, 4, 5, 6, 7))
    dataset = pydicom.dcmread(path)
    assert (dataset.ContentDate, dataset.ContentTime) == ("20250304", "050607")


def test_undated_study_gets_a_date_that_is_none(write_series: Callable[..., Path], tmp_path: Path) -> None:
    source = read_source_series(write_series(date=""))
    (path,) = write_dicom_results(tmp_path / "out", DicomResults((ANSWER,)), source=source)
    assert pydicom.dcmread(path).ContentDate == "19000101"


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


def test_frames_of_a_multi_frame_source_are_named(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "a.dcm", orders=[[0, 1, 2, 3], [2, 0, 3, 1]])
    (headers,) = group_headers([tmp_path / "a.dcm"]).values()
    source = read_source_series(split_series(headers)[1])
    results = results_on(source)
    paths = write_dicom_results(tmp_path / "out", results, source=source)
    if DCIODVFY is not None:
        assert {path.name: errors_of(path) for path in paths} == {path.name: [] for path in paths}
    seg = pydicom.dcmread(tmp_path / "out" / "seg.dcm")
    for groups, _, places in pixel_places(seg):
        (item,) = groups.DerivationImageSequence[0].SourceImageSequence
        k = round(places[0, 0, 0] / 3.0)
        assert item.ReferencedFrameNumber == 5 + [2, 0, 3, 1].index(k)
    check_contour(seg, results)


def test_series_without_a_frame_of_reference_gets_one_of_its_own(
    write_series: Callable[..., Path], tmp_path: Path
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


def test_objects_beside_the_series_change_nothing_that_is_read(write_series: Callable[..., Path]) -> None:
    folder = write_series()
    source = read_source_series(folder)
    before = index_archive(folder.parent)
    (entry,) = before.entries()
    for kind in ("pdf", "png"):
        write_dicom_results(folder.parent / kind, results_on(source, page=page(kind)), source=source)
    after = index_archive(folder.parent)
    (again,) = after.entries()
    assert set(after.series.loc[after.series["is_volume"], "series_uid"]) == {"2.25.12"}
    assert again.report is None and again.refusal is None and list(again.images) == list(entry.images)
    assert not again.find_lesions or again.find_lesions() == ()
    assert after.reports == {}


# Refusals


def test_nifti_is_refused_by_name(tmp_path: Path) -> None:
    write_nifti(Volume(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "image.nii.gz")
    with pytest.raises(VolumeError, match="found a NIfTI image"):
        read_source_series(tmp_path / "image.nii.gz")


def test_unknown_character_set_is_refused(write_series: Callable[..., Path]) -> None:
    folder = write_series()
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.add_new("SpecificCharacterSet", "CS", "KLINGON")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset.save_as(path)
    with pytest.raises(VolumeError, match="unknown SpecificCharacterSet"):
        read_source_series(folder)


def shifted(volume: Volume | None, millimetres: float) -> Volume:
    assert volume is not None
    affine = volume.affine.copy()
    affine[0, 3] += millimetres
    return Volume(volume.voxels, affine)


def spoiled(source: SourceSeries) -> Iterator[tuple[DicomResults, type[MedfuseError], str]]:
    good = results_on(source)
    assert good.saliency is not None
    broken = good.saliency.voxels.copy()
    broken[3, 4, 2] = np.nan
    yield replace(good, saliency=Volume(broken, source.affine)), PixelError, "no finite numbers"
    yield replace(good, saliency=shifted(good.saliency, 0.01)), GeometryError, "beside those of the series"
    yield replace(good, contour=shifted(good.contour, -0.01)), GeometryError, "beside those of the series"
    yield replace(good, contour=shifted(good.contour, 0.7 * 3)), GeometryError, "outside the series"
    yield replace(good, page=b"<html>"), DataError, "neither PDF nor PNG"
    yield replace(good, page=page("png")[:60]), DataError, "cannot be decoded"


def test_nothing_is_written_when_any_object_fails(write_series: Callable[..., Path], tmp_path: Path) -> None:
    source = read_source_series(write_series())
    out = tmp_path / "out"
    write_dicom_results(out, DicomResults((ANSWER,)), source=source)
    kept = (out / "sr.dcm").read_bytes()
    for results, kind, message in spoiled(source):
        with pytest.raises(kind, match=message):
            write_dicom_results(out, results, source=source)
        assert [path.name for path in out.iterdir()] == ["sr.dcm"] and (out / "sr.dcm").read_bytes() == kept


def test_nothing_is_written_when_a_frame_is_out_of_place(
    write_series: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import highdicom as hd

    source = read_source_series(write_series())
    made = hd.PlanePositionSequence
    monkeypatch.setattr(hd, "PlanePositionSequence", lambda system, at: made(system, [at[0] + 0.002, *at[1:]]))
    with pytest.raises(GeometryError, match=r"found a frame 0\.002 mm beside its slice"):
        write_dicom_results(tmp_path / "out", results_on(source), source=source)
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_when_the_disk_fails(
    write_series: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = read_source_series(write_series())
    write, n_left = Path.write_bytes, [2]

    def fail(self: Path, data: bytes) -> int:
        n_left[0] -= 1
        if n_left[0] < 0:
            raise OSError("no space left")
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="no space left"):
        write_dicom_results(tmp_path / "out", results_on(source), source=source)
    assert list((tmp_path / "out").iterdir()) == []


def test_empty_map_and_contour_leave_the_report_alone(write_series: Callable[..., Path], tmp_path: Path) -> None:
    source = read_source_series(write_series())
    empty = Volume(np.zeros(source.shape, dtype=np.float32), source.affine)
    none = Volume(np.zeros(source.shape, dtype=np.bool_), source.affine)
    paths = write_dicom_results(tmp_path / "out", DicomResults((ANSWER,), empty, none), source=source)
    assert [path.name for path in paths] == ["sr.dcm"]
    if DCIODVFY is not None:
        assert errors_of(paths[0]) == []


def test_map_without_a_contour_is_named_by_the_answer(write_series: Callable[..., Path], tmp_path: Path) -> None:
    source = read_source_series(write_series())
    paths = write_dicom_results(tmp_path / "out", results_on(source, contour=None, page=b""), source=source)
    sr, pm = (pydicom.dcmread(path) for path in paths)
    groups = sr.ContentSequence[-2].ContentSequence
    shown = [item for item in groups[0].ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "130401"]
    assert [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in shown] == [pm.SOPInstanceUID]


@pytest.mark.parametrize(
    "changes",
    [{"predictions": ()}, {"predictions": (ANSWER, replace(ANSWER, model_id="0"))}, {"contour_share": 0.0}],
)
def test_results_of_no_single_case_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="results: found"):
        replace(DicomResults((ANSWER,)), **changes)
