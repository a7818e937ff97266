"""One archive of DICOM studies, scored by each way in which a lesion's position can be known, and as it changes."""

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset

from medfuse.cli import main
from medfuse.inference import Predictor, save_bundle
from medfuse.inference.evidence import Evidence
from medfuse.io import Pseudonymizer, SeriesIdentity, read_volume, write_dicom_series
from medfuse.io.inputs import FoundStudies
from medfuse.scoring import ScoreOptions, score
from medfuse.types import Volume

N_STUDIES = 3
CENTRE = (-22.5, 19.5, 57.5)
"""Of the toy cohort's lesions, RAS+ mm: between two voxels along each axis."""


@pytest.fixture
def archive(toy: Any, tmp_path: Path) -> Path:
    """Three studies of the toy cohort as DICOM, with a report each."""
    root = tmp_path / "archive"
    for number, row in enumerate(toy.manifest.frame.head(N_STUDIES).to_dict("records")):
        image = read_volume(toy.manifest.root / row["image_path"], unit="HU")
        whole = Volume(np.rint(image.voxels).astype(np.int16), image.affine, "HU")
        write_dicom_series(whole, root / f"SMITH{number}" / "dicom", identity=identity_of(number))
        (root / f"SMITH{number}" / "report.txt").write_text(row["report_text"], encoding="utf-8")
    return root


def identity_of(number: int) -> SeriesIdentity:
    return SeriesIdentity(
        patient_id=f"SMITH-{number}",
        study_uid=f"2.25.1{number}",
        series_uid=f"2.25.1{number}1",
        frame_of_reference_uid=f"2.25.1{number}2",
    )


def rois_of(folder: Path) -> Path:
    rows = [
        {"study_uid": identity_of(n).study_uid, "lesion_id": "1", **dict(zip(("x_mm", "y_mm", "z_mm"), CENTRE, strict=True))}
        for n in range(N_STUDIES)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "rois.csv", index=False)
    return folder / "rois.csv"


def scored(
    archive: Path, predictor: Predictor, names: Pseudonymizer, out: Path, *, rois: Path | None = None, **options: Any
) -> pd.DataFrame:
    """Score an archive and return its table."""
    found = FoundStudies(archive, rois=rois)
    entries = found.entries(unit=predictor.preprocessing.unit, rule=predictor.bundle.series)
    score(entries, predictor=predictor, out=out, pseudonymizer=names, options=ScoreOptions(**options))
    return table_of(out)


def table_of(out: Path) -> pd.DataFrame:
    parts = pd.concat(pd.read_parquet(part) for part in (out / "predictions").glob("part-*.parquet"))
    return parts.sort_values(["study_key", "lesion_id"], ignore_index=True)


def marking(number: int, sop_class: str, modality: str) -> Dataset:
    """A DICOM object of a study that marks something in its series."""
    identity, dataset = identity_of(number), Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = f"2.25.1{number}9"
    dataset.Modality, dataset.PatientID = modality, identity.patient_id
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = identity.study_uid, f"2.25.1{number}8"
    dataset.FrameOfReferenceUID = identity.frame_of_reference_uid
    return dataset


def write_rtstruct(archive: Path, number: int) -> None:
    """Mark the lesion of a study as a point of an RTSTRUCT."""
    dataset, identity = marking(number, "1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT"), identity_of(number)
    series, study, frame, roi, drawn, contour, kind = (Dataset() for _ in range(7))
    series.SeriesInstanceUID = identity.series_uid
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = identity.frame_of_reference_uid, [study]
    roi.ROINumber, roi.ReferencedFrameOfReferenceUID, roi.ROIName = 1, identity.frame_of_reference_uid, "SMITH"
    x, y, z = CENTRE
    contour.ContourGeometricType, contour.NumberOfContourPoints, contour.ContourData = "POINT", 1, [-x, -y, z]
    drawn.ReferencedROINumber, drawn.ContourSequence = 1, [contour]
    kind.ReferencedROINumber, kind.RTROIInterpretedType = 1, "GTV"
    dataset.ReferencedFrameOfReferenceSequence, dataset.StructureSetROISequence = [frame], [roi]
    dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [drawn], [kind]
    pydicom.dcmwrite(archive / f"SMITH{number}" / "marks.dcm", dataset, enforce_file_format=True)


def write_seg(archive: Path, number: int) -> None:
    """Mark the eight voxels around the lesion's centre as a SEG, by highdicom."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    files = sorted((archive / f"SMITH{number}" / "dicom").iterdir())
    images = [pydicom.dcmread(path) for path in files]
    for image in images:  # what highdicom wants to see, and the writer leaves out
        image.PatientName = image.PatientBirthDate = image.PatientSex = image.AccessionNumber = image.StudyID = ""
        image.StudyDate = image.StudyTime = ""
    mask = np.zeros((len(images), images[0].Rows, images[0].Columns), np.uint8)
    volume = read_volume(archive / f"SMITH{number}" / "dicom")
    i, j, _ = np.floor((np.linalg.inv(volume.affine) @ [*CENTRE, 1.0])[:3]).astype(int)
    for k, image in enumerate(images):
        if abs(float(image.ImagePositionPatient[2]) - CENTRE[2]) < 1:
            mask[k, j : j + 2, i : i + 2] = 1
    described = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="lesion",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Neoplasm,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
    )
    seg = hd.seg.Segmentation(
        source_images=images, pixel_array=mask, segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[described], series_instance_uid=f"2.25.1{number}8", series_number=2,
        sop_instance_uid=f"2.25.1{number}9", instance_number=1, manufacturer="test", manufacturer_model_name="test",
        software_versions="1", device_serial_number="1",
    )  # fmt: skip
    seg.save_as(archive / f"SMITH{number}" / "marks.dcm")


@pytest.mark.parametrize("write_marks", [write_seg, write_rtstruct])
def test_a_marked_lesion_is_scored_as_one_of_the_same_position_in_rois_csv(
    archive: Path, toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path,
    write_marks: Callable[[Path, int], None],
) -> None:  # fmt: skip
    given = scored(archive, toy_predictor, names, tmp_path / "given", rois=rois_of(tmp_path))
    assert given["status"].tolist() == ["scored"] * N_STUDIES
    for number in range(N_STUDIES):
        write_marks(archive, number)
    marked = scored(archive, toy_predictor, names, tmp_path / "marked")
    assert marked["status"].tolist() == ["scored"] * N_STUDIES
    for column in ("probability_malignancy", "probability_image_malignancy", "probability_text_malignancy"):
        np.testing.assert_allclose(marked[column], given[column], atol=1e-5)
    assert given["probability_image_malignancy"].nunique() == N_STUDIES


def test_without_a_position_a_study_is_refused_by_name_unless_the_model_takes_it_whole(
    archive: Path, toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    nowhere = scored(archive, toy_predictor, names, tmp_path / "nowhere")
    assert set(nowhere["status"]) == {"refused"}
    assert all("position" in reason for reason in nowhere["reason"])
    preparation = toy_predictor.preprocessing
    image = preparation.image.model_copy(update={"region": "whole", "spacing_mm": None})
    changed = replace(toy_predictor.bundle, preprocessing=replace(preparation, image=image), model_id="whole")
    whole = scored(archive, Predictor(changed), names, tmp_path / "whole")
    assert whole[["lesion_id", "status"]].to_numpy().tolist() == [["whole", "scored"]] * N_STUDIES
    centre = scored(archive, toy_predictor, names, tmp_path / "centre", position="centre")
    np.testing.assert_allclose(whole["probability_malignancy"], centre["probability_malignancy"], atol=1e-5)


@pytest.fixture
def command(archive: Path, toy_bundle: Path, tmp_path: Path) -> list[str]:
    model = ["--model", str(toy_bundle), "--rois", str(rois_of(tmp_path))]
    return ["score", str(archive), *model, "--out", str(tmp_path / "out")]


@pytest.mark.parametrize("is_late", [True, False])
def test_a_late_report_or_addendum_scores_its_study_alone(
    archive: Path, command: list[str], names: Pseudonymizer, tmp_path: Path, is_late: bool
) -> None:
    report = archive / "SMITH1" / "report.txt"
    text = report.read_text(encoding="utf-8")
    if is_late:
        report.unlink()
    assert main([*command, "--quiet"]) == 0
    before = table_of(tmp_path / "out")
    report.write_text(text if is_late else f"{text}\nADDENDUM: The nodule has a spiculated margin.", encoding="utf-8")
    assert main([*command, "--quiet"]) == 0
    after = table_of(tmp_path / "out")
    changed = (before != after) & ~(before.isna() & after.isna())  # with `seconds`: it is another in each run
    assert changed.any(axis=1).sum() == 1
    [row] = np.flatnonzero(changed.any(axis=1))
    assert not changed.loc[row, ["study_key", "probability_image_malignancy"]].any()
    assert changed.loc[row, "probability_text_malignancy"] or not is_late
    assert ("missing report" in before.loc[row, "flags"]) == is_late
    assert "missing report" not in after.loc[row, "flags"]


@pytest.mark.parametrize("n_before", [0, 3, 5])
def test_a_full_disk_stops_the_run_and_the_same_command_goes_on(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    n_before: int,
) -> None:  # fmt: skip
    synced, sync = list[int](), os.fsync

    def fill(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) > n_before:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr("medfuse.scoring.engine.FLUSH_STUDIES", 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fill)
        assert main([*command, "--quiet"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: --out: cannot be written (No space left on device); expected room and a folder that stays; the same "
        "command then goes on"
    ]
    assert main([*command, "--quiet"]) == 0
    assert table_of(tmp_path / "out")["study_key"].is_unique
    assert len(table_of(tmp_path / "out")) == N_STUDIES
    assert not list((tmp_path / "out").rglob("*.partial"))


def test_json_lines_name_studies_by_their_pseudonyms_alone(
    archive: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    image = sorted((archive / "SMITH0" / "dicom").iterdir())[3]
    image.write_bytes(image.read_bytes()[:-100])
    assert main([*command, "--json-log"]) == 3
    told = capsys.readouterr().err
    lines = [json.loads(line) for line in told.splitlines()]
    assert all({"time", "level", "message"} <= set(line) for line in lines)
    from medfuse.io import load_pseudonymizer

    assert any(load_pseudonymizer().study(identity_of(0).study_uid) in line["message"] for line in lines)
    assert "SMITH" not in told and not any(identity_of(n).study_uid in told for n in range(N_STUDIES))


def test_a_folder_of_another_model_is_refused_with_the_difference(
    command: list[str], toy_predictor: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--quiet"]) == 0
    preparation = toy_predictor.preprocessing
    image = preparation.image.model_copy(update={"spacing_mm": 2.0})
    other = replace(toy_predictor.bundle, preprocessing=replace(preparation, image=image), evidence=Evidence())
    save_bundle(other, tmp_path / "other")
    command[command.index("--model") + 1] = str(tmp_path / "other")
    assert main([*command, "--quiet"]) == 2
    assert "preprocessing.image.spacing_mm (1.0 there, 2.0 now)" in capsys.readouterr().err
