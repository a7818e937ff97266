"""A case's results as DICOM objects: conformant, read by others, whose they are, and all of them or none."""

from __future__ import annotations

import logging
import shutil
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

from medfuse.errors import DataError, GeometryError, MedfuseError, PixelError, VolumeError
from medfuse.io import index_archive, write_nifti
from medfuse.io.dicom_source import SourceSeries, read_source_series
from medfuse.reporting.dicom_results import DicomResults, write_dicom_results
from medfuse.types import CaseId, Prediction, Volume

Make = Callable[..., Any]


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian: dicom3tools) is not installed")
def test_every_object_is_conformant(
    write_series: Make, tmp_path: Path, results_on: Make, page_bytes: Make, dicom_errors: Make
) -> None:
    source = read_source_series(write_series())
    paths = write_dicom_results(tmp_path / "out", results_on(source), source=source)
    paths += write_dicom_results(tmp_path / "png", results_on(source, page=page_bytes("png")), source=source)
    assert {path.name for path in paths} == {"sr.dcm", "seg.dcm", "pm.dcm", "sc.dcm", "pdf.dcm"}
    assert dicom_errors(paths) == {}
    dataset = pydicom.dcmread(paths[0])
    del dataset.CompletionFlag
    dataset.save_as(tmp_path / "broken.dcm")
    assert "broken.dcm" in dicom_errors([tmp_path / "broken.dcm"])  # the check itself is awake


# Content


def test_highdicom_reads_the_measurements(write_series: Make, tmp_path: Path, results_on: Make) -> None:
    import highdicom as hd

    source = read_source_series(write_series())
    results = results_on(source)
    write_dicom_results(tmp_path / "out", results, source=source)
    report = hd.sr.srread(tmp_path / "out" / "sr.dcm")
    assert isinstance(report, hd.sr.Comprehensive3DSR)
    binary, texture = report.content.get_image_measurement_groups()
    assert [numbers(binary), codes(binary)] == [
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
    assert region.tracking_uid == binary.tracking_uid == seg.SegmentSequence[0].TrackingUID
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


def test_report_says_that_it_is_for_research(write_series: Make, tmp_path: Path, results_on: Make) -> None:
    source = read_source_series(write_series())
    paths = write_dicom_results(tmp_path / "out", results_on(source), source=source)
    sr, seg, pm, pdf = (pydicom.dcmread(path) for path in paths)
    assert (
        sr.ContentSequence[-1].TextValue == "Research use only. Not a medical device; not for diagnosis or treatment."
    )
    assert (seg.ContentQualification, pm.ContentQualification) == ("RESEARCH", "RESEARCH")
    assert all("research use only" in dataset.SeriesDescription for dataset in (sr, seg, pm, pdf))
    assert (sr.VerificationFlag, sr.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")


def test_page_comes_back_as_it_was(write_series: Make, tmp_path: Path, page_bytes: Make, answer: Prediction) -> None:
    from matplotlib.image import imread

    source = read_source_series(write_series())
    pdf, png = page_bytes("pdf"), page_bytes("png")
    write_dicom_results(tmp_path, DicomResults((answer,), page=pdf), source=source)
    dataset = pydicom.dcmread(tmp_path / "pdf.dcm")
    assert dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength] == pdf
    write_dicom_results(tmp_path, DicomResults((answer,), page=png), source=source)
    shown = pydicom.dcmread(tmp_path / "sc.dcm").pixel_array
    assert np.array_equal(shown, np.rint(imread(BytesIO(png), format="png")[:, :, :3] * 255))
    assert sorted(path.name for path in tmp_path.glob("*.dcm")) == ["sc.dcm", "sr.dcm"]  # the other page is gone


@pytest.mark.parametrize("charset", ["ISO_IR 100", "GB18030", "ISO 2022 IR 6\\ISO 2022 IR 87"])
def test_identity_is_the_studys_own(charset: str, write_series: Make, tmp_path: Path, results_on: Make) -> None:
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


def test_headers_of_old_scanners_are_mended(
    write_series: Make, tmp_path: Path, results_on: Make, dicom_errors: Make
) -> None:
    folder = write_series()
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        del dataset.PatientBirthDate, dataset.StudyID, dataset.ReferringPhysicianName
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset.StudyDate, dataset.StudyTime, dataset.PatientSex = "2004.01.19", "10:11:12", "female"
            dataset.BodyPartExamined, dataset.PatientAge = "Lung, left", "45"
            dataset.save_as(path)
    source = read_source_series(folder)
    paths = write_dicom_results(tmp_path / "out", results_on(source), source=source)
    assert dicom_errors(paths) == {}
    for path in paths:
        dataset = pydicom.dcmread(path)
        assert (dataset.StudyDate, dataset.StudyTime, dataset.PatientSex) == ("20040119", "101112", "")
        assert (dataset.PatientID, dataset.StudyID, dataset.ContentDate) == ("P-77", "", "20040119")


def test_no_name_is_logged_or_warned_of(
    write_series: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: Any, results_on: Make
) -> None:
    source = read_source_series(write_series(patient="ODD==NAME"))
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        write_dicom_results(tmp_path / "out", results_on(source), source=source)
    out, err = capfd.readouterr()
    assert warned == [] and "ODD" not in caplog.text + out + err
    assert "ODD" not in repr(source) and "2.25" not in repr(source)
    assert logging.getLogger("highdicom").level == logging.NOTSET


# Identity of the objects


def test_second_run_gives_equal_bytes(write_series: Make, tmp_path: Path, results_on: Make, page_bytes: Make) -> None:
    folder = write_series()
    shown, written = page_bytes("pdf"), []
    for name in ("one", "two"):
        source = read_source_series(folder)
        written.append(write_dicom_results(tmp_path / name, results_on(source, page=shown), source=source))
        time.sleep(1.01)  # a clock that is read would show
    one, two = written
    assert len(one) == 4
    for first, second in zip(one, two, strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_uids_are_those_of_source_model_and_lesion(
    write_series: Make, tmp_path: Path, page_bytes: Make, answer: Prediction
) -> None:
    source = read_source_series(write_series())

    def uids(name: str, **changes: Any) -> set[str]:
        results = DicomResults((replace(answer, **changes),), page=page_bytes("pdf"))
        paths = write_dicom_results(tmp_path / name, results, source=source)
        found = [pydicom.dcmread(path) for path in paths]
        return {dataset.SOPInstanceUID for dataset in found} | {dataset.SeriesInstanceUID for dataset in found}

    kept = uids("kept")
    assert len(kept) == 4 and all(uid.startswith("2.25.") and len(uid) <= 64 for uid in kept)
    assert uids("other threshold", threshold=0.2) == kept
    assert uids("other key", case=CaseId("another pseudonym", "1")) == kept
    assert not uids("other model", model_id="0") & kept
    assert not uids("other lesion", case=CaseId("S1", "2")) & kept


def test_dates_are_the_images_or_the_given_one(write_series: Make, tmp_path: Path, answer: Prediction) -> None:
    source = read_source_series(write_series())
    told = DicomResults((answer,))
    (path,) = write_dicom_results(tmp_path / "a", told, source=source)
    dataset = pydicom.dcmread(path)
    assert (dataset.ContentDate, dataset.ContentTime) == ("20240102", "101112")
    assert "InstanceCreationDate" not in dataset
    (path,) = write_dicom_results(tmp_path / "b", told, source=source, created=datetime(2025, 3, 4, 5, 6, 7))
    dataset = pydicom.dcmread(path)
    assert (dataset.ContentDate, dataset.ContentTime) == ("20250304", "050607")


def test_undated_study_gets_a_date_that_is_none(write_series: Make, tmp_path: Path, answer: Prediction) -> None:
    source = read_source_series(write_series(date=""))
    (path,) = write_dicom_results(tmp_path / "out", DicomResults((answer,)), source=source)
    assert pydicom.dcmread(path).ContentDate == "19000101"


def test_objects_beside_the_series_change_nothing_that_is_read(
    write_series: Make, results_on: Make, page_bytes: Make
) -> None:
    folder = write_series()
    source = read_source_series(folder)
    before = index_archive(folder.parent)
    (entry,) = before.entries()
    for kind in ("pdf", "png"):
        write_dicom_results(folder.parent / kind, results_on(source, page=page_bytes(kind)), source=source)
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


def test_unknown_character_set_is_refused(write_series: Make) -> None:
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


def spoiled(
    source: SourceSeries, results_on: Make, page_bytes: Make
) -> Iterator[tuple[DicomResults, type[MedfuseError], str]]:
    good = results_on(source)
    assert good.saliency is not None
    broken = good.saliency.voxels.copy()
    broken[3, 4, 2] = np.nan
    yield replace(good, saliency=Volume(broken, source.affine)), PixelError, "no finite numbers"
    yield replace(good, saliency=shifted(good.saliency, 0.01)), GeometryError, "beside those of the series"
    yield replace(good, contour=shifted(good.contour, -0.01)), GeometryError, "beside those of the series"
    yield replace(good, contour=shifted(good.contour, 0.7 * 3)), GeometryError, "outside the series"
    assert good.contour is not None
    yield replace(good, contour=Volume(good.contour.voxels * 3, source.affine)), PixelError, "labels that are none"
    yield replace(good, page=b"<html>"), DataError, "neither PDF nor PNG"
    yield replace(good, page=page_bytes("png")[:60]), DataError, "cannot be decoded"


def test_nothing_is_written_when_any_object_fails(
    write_series: Make, tmp_path: Path, answer: Prediction, results_on: Make, page_bytes: Make
) -> None:
    source = read_source_series(write_series())
    out = tmp_path / "out"
    write_dicom_results(out, DicomResults((answer,)), source=source)
    kept = (out / "sr.dcm").read_bytes()
    for results, kind, message in spoiled(source, results_on, page_bytes):
        with pytest.raises(kind, match=message):
            write_dicom_results(out, results, source=source)
        assert [path.name for path in out.iterdir()] == ["sr.dcm"] and (out / "sr.dcm").read_bytes() == kept


def test_nothing_is_written_when_a_frame_is_out_of_place(
    write_series: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results_on: Make
) -> None:
    import highdicom as hd

    source = read_source_series(write_series())
    made = hd.PlanePositionSequence
    monkeypatch.setattr(hd, "PlanePositionSequence", lambda system, at: made(system, [at[0] + 0.002, *at[1:]]))
    with pytest.raises(GeometryError, match=r"found a frame 0\.002 mm beside its slice"):
        write_dicom_results(tmp_path / "out", results_on(source), source=source)
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_when_the_disk_fails(
    write_series: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results_on: Make
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


def test_empty_map_and_contour_leave_the_report_alone(
    write_series: Make, tmp_path: Path, answer: Prediction, dicom_errors: Make
) -> None:
    source = read_source_series(write_series())
    empty = Volume(np.zeros(source.shape, dtype=np.float32), source.affine)
    none = Volume(np.zeros(source.shape, dtype=np.bool_), source.affine)
    paths = write_dicom_results(tmp_path / "out", DicomResults((answer,), empty, none), source=source)
    assert [path.name for path in paths] == ["sr.dcm"]
    assert dicom_errors(paths) == {}


def test_map_without_a_contour_is_named_by_the_answer(write_series: Make, tmp_path: Path, results_on: Make) -> None:
    source = read_source_series(write_series())
    paths = write_dicom_results(tmp_path / "out", results_on(source, contour=None, page=b""), source=source)
    sr, pm = (pydicom.dcmread(path) for path in paths)
    groups = sr.ContentSequence[-2].ContentSequence
    shown = [item for item in groups[0].ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "130401"]
    assert [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in shown] == [pm.SOPInstanceUID]


def test_results_of_no_single_case_are_refused(answer: Prediction) -> None:
    other = replace(answer, model_id="0")
    for wrong in ({"predictions": ()}, {"predictions": (answer, other)}, {"contour_share": 0.0}):
        with pytest.raises(DataError, match="results: found"):
            replace(DicomResults((answer,)), **wrong)
