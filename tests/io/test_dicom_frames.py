"""Enhanced multi-frame images, built here, read as the volumes that they were built from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from medfuse.errors import AmbiguousVolumeError, MedfuseError, VolumeError
from medfuse.io import read_volume, read_volumes
from medfuse.io.dicom_frames import expand
from medfuse.io.dicom_headers import read_header

ENHANCED_CT, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.4.1"
VOXELS = np.random.default_rng(3).integers(0, 4096, (2, 4, 5, 6)).astype(np.uint16)
"""Volume, slice, row, column."""


def item(**values: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def frame(k: int, *, z: float | None = None, **groups: Dataset) -> Dataset:
    position = item(ImagePositionPatient=[-10, -20, 3.0 * k if z is None else z])
    return item(PlanePositionSequence=[position], **{keyword: [group] for keyword, group in groups.items()})


def write(
    path: Path, frames: list[Dataset], pixels: np.ndarray, *, sop_class: str = ENHANCED_MR, **values: Any
) -> Path:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = f"2.25.{abs(hash(path.name)) % 10**9}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = "2.25.1", "2.25.2", "2.25.3"
    dataset.PatientID, dataset.Modality = "Ann", "CT" if sop_class == ENHANCED_CT else "MR"
    dataset.ImageType, dataset.InstanceNumber = ["ORIGINAL", "PRIMARY", "X", "NONE"], 1
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[item(PixelSpacing=[0.8, 0.7], SliceThickness=3)],
        PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")],
    )
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = frames
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = len(frames), pixels.shape[-2], pixels.shape[-1]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelData = pixels.astype("<u2").tobytes()
    for keyword, value in values.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def test_enhanced_ct_is_read_whatever_the_order_of_its_frames(tmp_path: Path) -> None:
    order = [2, 0, 3, 1]
    path = write(tmp_path / "ct.dcm", [frame(k) for k in order], VOXELS[0][order], sop_class=ENHANCED_CT)
    volume = read_volume(path)
    assert np.array_equal(volume.voxels, VOXELS[0].T.astype(int) - 1024) and volume.unit == "HU"
    assert np.allclose(volume.affine, [[-0.7, 0, 0, 10], [0, -0.8, 0, 20], [0, 0, 3, 0], [0, 0, 0, 1]])


def test_rescale_of_each_frame_is_applied_to_it(tmp_path: Path) -> None:
    groups = [item(RescaleSlope=0.5 + k, RescaleIntercept=-k, RescaleType="US") for k in range(4)]
    frames = [frame(k, PixelValueTransformationSequence=group) for k, group in enumerate(groups)]
    volume = read_volume(write(tmp_path / "a.dcm", frames, VOXELS[0]))
    assert volume.voxels.dtype == np.float32 and volume.unit == "arbitrary"
    for k in range(4):
        assert np.array_equal(volume.voxels[:, :, k], (VOXELS[0, k].T * (0.5 + k) - k).astype(np.float32))


@pytest.mark.parametrize(
    ("group", "first", "second"),
    [
        ("FrameContentSequence", {"TemporalPositionIndex": 1}, {"TemporalPositionIndex": 2}),
        ("FrameContentSequence", {"StackID": "1"}, {"StackID": "2"}),
        ("FrameContentSequence", {"DimensionIndexValues": [1, 1]}, {"DimensionIndexValues": [1, 2]}),
        ("MREchoSequence", {"EffectiveEchoTime": 2.5}, {"EffectiveEchoTime": 5.0}),
        ("MRTimingAndRelatedParametersSequence", {"FlipAngle": 2.0}, {"FlipAngle": 20.0}),
        (
            "FrameContentSequence",
            {"FrameAcquisitionDateTime": "20200101100001.00"},
            {"FrameAcquisitionDateTime": "20200101100002.00"},
        ),
        ("MRDiffusionSequence", {"DiffusionBValue": 0.0}, {"DiffusionBValue": 1000.0}),
        ("MRImageFrameTypeSequence", {"ComplexImageComponent": "MAGNITUDE"}, {"ComplexImageComponent": "PHASE"}),
        ("CardiacSynchronizationSequence", {"NominalCardiacTriggerDelayTime": 10.0}, {"NominalCardiacTriggerDelayTime": 90.0}),
    ],
)  # fmt: skip
def test_frames_are_parted_into_volumes(tmp_path: Path, group: str, first, second) -> None:
    frames = [frame(k, **{group: item(**values)}) for k in range(4) for values in (first, second)]
    path = write(tmp_path / "a.dcm", frames, VOXELS.swapaxes(0, 1).reshape(8, 5, 6))
    volumes = read_volumes(path)
    assert [np.array_equal(v.voxels, w.T.astype(int) - 1024) for v, w in zip(volumes, VOXELS, strict=True)] == [
        True
    ] * 2
    with pytest.raises(AmbiguousVolumeError, match="more than one volume"):
        read_volume(path)


def test_files_that_each_hold_a_time_point_are_parted(tmp_path: Path) -> None:
    for t in range(2):
        write(tmp_path / f"{t}.dcm", [frame(k) for k in range(4)], VOXELS[t], InstanceNumber=t + 1)
    assert [
        np.array_equal(v.voxels, w.T.astype(int) - 1024) for v, w in zip(read_volumes(tmp_path), VOXELS, strict=True)
    ]


def test_geometry_on_the_top_level_means_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", [frame(k) for k in range(4)], VOXELS[0], PixelSpacing=[9, 9], RescaleSlope=7)
    volume = read_volume(path)
    assert volume.spacing_mm == pytest.approx((0.7, 0.8, 3)) and volume.voxels.max() == int(VOXELS[0].max()) - 1024


def test_missing_frame_is_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", [frame(k) for k in (0, 1, 2, 4)], VOXELS[0])
    with pytest.raises(VolumeError, match="missing slices"):
        read_volume(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"PerFrameFunctionalGroupsSequence": None}, "PerFrameFunctionalGroupsSequence"),
        ({"NumberOfFrames": 3}, "3 NumberOfFrames and functional groups of 4"),
        ({"SharedFunctionalGroupsSequence": None}, "no ImageOrientationPatient"),
        ({"PixelData": VOXELS[0].tobytes()[:-2]}, "truncated PixelData"),
    ],
)
def test_incomplete_multiframe_image_is_refused_by_name(tmp_path: Path, values, message: str) -> None:
    path = write(tmp_path / "a.dcm", [frame(k) for k in range(4)], VOXELS[0], **values)
    with pytest.raises(MedfuseError, match=message):
        read_volume(path)


@pytest.mark.parametrize("has_table", [True, False])
def test_compressed_frames_are_found_with_and_without_offset_table(tmp_path: Path, has_table: bool) -> None:
    path = write(tmp_path / "a.dcm", [frame(k) for k in range(4)], VOXELS[0])
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=4))
    dataset.PixelData = encapsulate(frames, has_bot=has_table)
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    whole = read_volume(path)
    assert np.array_equal(whole.voxels, VOXELS[0].T.astype(int) - 1024)
    box = ((whole.affine @ [1, 1, 2, 1])[:3], (whole.affine @ [3, 2, 3, 1])[:3])
    assert np.array_equal(read_volume(path, box_mm=box).voxels, whole.voxels[1:4, 1:3, 2:4])


def test_expanded_slices_stay_as_they_are(tmp_path: Path) -> None:
    header = read_header(write(tmp_path / "a.dcm", [frame(k) for k in range(4)], VOXELS[0]))
    assert header is not None
    slices = expand([header], where="series")
    assert expand(slices, where="series") == slices and [s.frame for s in slices] == [0, 1, 2, 3]
