from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset

from medfuse.io import SeriesIdentity, write_dicom_series
from medfuse.types import Volume

AFFINE = np.array([[-0.7, 0, 0, 10.0], [0, -0.8, 0, 20.0], [0, 0, 2.5, -30.0], [0, 0, 0, 1.0]])


@pytest.fixture
def volume() -> Volume:
    voxels = np.random.default_rng(0).integers(-1024, 3000, (7, 6, 5)).astype(np.int16)
    return Volume(voxels, AFFINE, "HU")


@pytest.fixture
def write_series(volume: Volume) -> Callable[..., list[Path]]:
    """Write the volume as a series of study 2.25.<study>, series 2.25.<study><series>."""

    def write(folder: Path, *, study: int = 1, series: int = 1, patient: str = "Ann^Real") -> list[Path]:
        identity = SeriesIdentity(
            patient_id=patient,
            study_uid=f"2.25.{study}",
            series_uid=f"2.25.{study}{series}",
            frame_of_reference_uid=f"2.25.{study}99",
        )
        return write_dicom_series(volume, folder, identity=identity)

    return write


@pytest.fixture
def change() -> Callable[..., None]:
    """Set (or with None delete) attributes of a DICOM file."""

    def change_file(path: Path, **values: Any) -> None:
        dataset = pydicom.dcmread(path)
        for keyword, value in values.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        dataset.save_as(path)

    return change_file


@pytest.fixture(autouse=True)
def _own_key(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDFUSE_CONFIG_DIR", str(tmp_path_factory.mktemp("config")))


@pytest.fixture
def write_seg() -> Callable[..., Path]:
    """Write masks (I, J, K) on a volume's affine as a SEG, empty frames left out."""

    def write(
        path: Path, masks: list[np.ndarray], *, affine: np.ndarray = AFFINE, kind: str = "BINARY", **values: Any
    ) -> Path:
        dataset = _lesion_object("1.2.840.10008.5.1.4.1.1.66.4", values.pop("series", "2.25.11"))
        lps = np.diag([-1, -1, 1, 1]) @ affine
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        measures, orientation = Dataset(), Dataset()
        measures.PixelSpacing, measures.SliceThickness = [spacing[1], spacing[0]], spacing[2]
        orientation.ImageOrientationPatient = [*(lps[:3, 0] / spacing[0]), *(lps[:3, 1] / spacing[1])]
        shared = Dataset()
        shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
        dataset.SharedFunctionalGroupsSequence = [shared]
        dataset.SegmentSequence, dataset.PerFrameFunctionalGroupsSequence, frames = [], [], []
        for number, mask in enumerate(masks, start=1):
            segment, category = Dataset(), Dataset()
            category.CodeValue = values.get("categories", ["49755003"] * len(masks))[number - 1]
            segment.SegmentNumber, segment.SegmentedPropertyCategoryCodeSequence = number, [category]
            dataset.SegmentSequence.append(segment)
            for k in range(mask.shape[2]):
                if mask[:, :, k].any():
                    frames.append(np.asarray(mask[:, :, k].T, dtype=float))
                    dataset.PerFrameFunctionalGroupsSequence.append(_seg_frame(number, (lps @ [0, 0, k, 1])[:3]))
        stack = np.array(frames)
        dataset.SegmentationType, dataset.NumberOfFrames = kind, len(frames)
        dataset.Rows, dataset.Columns = masks[0].shape[1], masks[0].shape[0]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
        bits = 1 if kind == "BINARY" else 8
        dataset.BitsAllocated = dataset.BitsStored = bits
        dataset.HighBit, dataset.MaximumFractionalValue = bits - 1, 200
        if kind == "BINARY":
            data = np.packbits(stack.astype(bool).ravel(), bitorder="little").tobytes()
        else:
            data = (stack * (200 if kind == "FRACTIONAL" else 1)).round().astype(np.uint8).tobytes()
        dataset.PixelData = data + b"\0" * (len(data) % 2)
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
        return path

    return write


@pytest.fixture
def write_sr() -> Callable[..., Path]:
    """Write items as the content of a structured report of study 2.25.1."""

    def write(path: Path, parts: list[Dataset], *, end: str = "11", **values: Any) -> Path:
        dataset = _lesion_object(f"1.2.840.10008.5.1.4.1.1.88.{end}", "2.25.11")
        del dataset.ReferencedSeriesSequence, dataset.FrameOfReferenceUID
        dataset.Modality, dataset.ValueType, dataset.ContinuityOfContent = "SR", "CONTAINER", "SEPARATE"
        dataset.ContentDate, dataset.ContentTime = "20240102", "093000"
        dataset.ContentSequence = parts
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
        return path

    return write


@pytest.fixture
def write_rtstruct() -> Callable[..., Path]:
    """Write ROIs, each a list of (geometric type, LPS points), as an RTSTRUCT."""

    def write(
        path: Path, rois: list[list[tuple[str, Any]]], *, types: list[str] | None = None, series: str = "2.25.11"
    ) -> Path:
        dataset = _lesion_object("1.2.840.10008.5.1.4.1.1.481.3", series)
        named = Dataset()
        named.SeriesInstanceUID = series
        study, frame = Dataset(), Dataset()
        study.RTReferencedSeriesSequence = [named]
        frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = "2.25.199", [study]
        dataset.ReferencedFrameOfReferenceSequence = [frame]
        dataset.StructureSetROISequence, dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [], [], []
        for number, contours in enumerate(rois, start=1):
            roi, drawn, observation = Dataset(), Dataset(), Dataset()
            roi.ROINumber, roi.ReferencedFrameOfReferenceUID, roi.ROIName = number, "2.25.199", "SMITH tumour"
            drawn.ReferencedROINumber, drawn.ContourSequence = number, []
            for kind, points in contours:
                contour = Dataset()
                contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
                contour.ContourData = [round(float(value), 6) for value in np.ravel(points)]
                drawn.ContourSequence.append(contour)
            observation.ReferencedROINumber = number
            observation.RTROIInterpretedType = types[number - 1] if types else ""
            dataset.StructureSetROISequence.append(roi)
            dataset.ROIContourSequence.append(drawn)
            dataset.RTROIObservationsSequence.append(observation)
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
        return path

    return write


def _lesion_object(sop_class: str, series: str) -> Dataset:
    dataset, referenced = Dataset(), Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, "2.25.777"
    dataset.file_meta.MediaStorageSOPClassUID, dataset.file_meta.MediaStorageSOPInstanceUID = sop_class, "2.25.777"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = "2.25.1", "2.25.888", "2.25.199"
    dataset.PatientID = dataset.PatientName = "Ann^Real"
    dataset.Modality = "SEG" if sop_class.endswith("66.4") else "RTSTRUCT"
    referenced.SeriesInstanceUID = series
    dataset.ReferencedSeriesSequence = [referenced]
    return dataset


def _seg_frame(number: int, position: np.ndarray) -> Dataset:
    frame, place, segment = Dataset(), Dataset(), Dataset()
    place.ImagePositionPatient = [float(v) for v in position]
    segment.ReferencedSegmentNumber = number
    frame.PlanePositionSequence, frame.SegmentIdentificationSequence = [place], [segment]
    return frame
