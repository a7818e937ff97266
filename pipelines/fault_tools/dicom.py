"""Series whose geometry, pixels or identity is wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless

from pipelines.fault_tools.variant import Sound, Variant, copy_sound

__all__ = ["GEOMETRY", "IDENTITY", "OUT_OF_DISTRIBUTION", "PIXEL"]

Make = Callable[[Path, Sound], None]
Edit = Callable[[Any], None]
ONE, HALF = (5,), range(6)
"""Which slices are changed."""


def _edited(edit: Edit, slices: Iterable[int] | None = None) -> Make:
    """Return what copies the sound study and changes slices, by default all."""

    def make(folder: Path, sound: Sound) -> None:
        copy_sound(sound.dicom, folder)
        _edit(folder, edit, slices)

    return make


def _edit(folder: Path, edit: Edit, slices: Iterable[int] | None = None) -> None:
    files = sorted((folder / "dicom").iterdir())
    with warnings.catch_warnings():  # that a value is none is the point
        warnings.simplefilter("ignore")
        for index in range(len(files)) if slices is None else slices:
            dataset = _read(files[index])
            edit(dataset)
            dataset.save_as(files[index])


def _read(path: Path) -> Any:
    with pydicom.config.disable_value_validation():
        return pydicom.dcmread(path)


def _set(slices: Iterable[int] | None = None, /, **values: object) -> Make:
    def edit(dataset: Any) -> None:
        with pydicom.config.disable_value_validation():
            for keyword, value in values.items():
                setattr(dataset, keyword, value)

    return _edited(edit, slices)


def _raw(keyword: str, value: bytes, slices: Iterable[int] | None = None) -> Make:
    """Set an element's bytes, which need not be a value of its kind."""

    def edit(dataset: Any) -> None:
        element = dataset[keyword]
        raw = pydicom.dataelem.RawDataElement(
            element.tag, element.VR, len(value), value, 0, is_implicit_VR=False, is_little_endian=True
        )
        dataset._dict[element.tag] = raw

    return _edited(edit, slices)


def _without(keyword: str) -> Make:
    return _edited(lambda dataset: delattr(dataset, keyword))


def _moved(change: Callable[[list[float]], list[float]], slices: Iterable[int] | None) -> Make:
    def edit(dataset: Any) -> None:
        dataset.ImagePositionPatient = change([float(value) for value in dataset.ImagePositionPatient])

    return _edited(edit, slices)


def _voxels(change: Callable[[Any], Any], slices: Iterable[int] | None = None) -> Make:
    def edit(dataset: Any) -> None:
        voxels = np.frombuffer(dataset.PixelData, np.int16)
        dataset.PixelData = np.clip(change(voxels.astype(float)), -32768, 32767).astype(np.int16).tobytes()

    return _edited(edit, slices)


def _again(*, same: bool) -> Make:
    """Add a slice at the place of another: the same file again, or another image."""

    def make(folder: Path, sound: Sound) -> None:
        copy_sound(sound.dicom, folder)
        first = sorted((folder / "dicom").iterdir())[3]
        dataset = _read(first)
        if not same:
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{dataset.SOPInstanceUID}1"[-60:]
            dataset.PixelData = bytes(len(dataset.PixelData))
        dataset.save_as(first.with_name("again.dcm"))

    return make


def _renamed(folder: Path, sound: Sound) -> None:
    """Give the slices numbers and names in no order."""
    copy_sound(sound.dicom, folder)
    for number, path in enumerate(sorted((folder / "dicom").iterdir())):
        dataset = _read(path)
        dataset.InstanceNumber = (number * 7) % 12 + 1
        dataset.save_as(path)
        path.rename(path.with_name(f"{number * 5 % 12}"))


def _one_slice(folder: Path, sound: Sound) -> None:
    copy_sound(sound.dicom, folder)
    for path in sorted((folder / "dicom").iterdir())[1:]:
        path.unlink()


def _colour(dataset: Any) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = bytes(dataset.Rows * dataset.Columns * 3)


def _compressed(syntax: str, frame: bytes) -> Make:
    def edit(dataset: Any) -> None:
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = syntax

    return _edited(edit)


def _cut_file(folder: Path, sound: Sound) -> None:
    copy_sound(sound.dicom, folder)
    path = sorted((folder / "dicom").iterdir())[5]
    path.write_bytes(path.read_bytes()[:-1500])


def _longer(dataset: Any) -> None:
    dataset.PixelData += bytes(4096)


def _halved(dataset: Any) -> None:
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]


def _two_studies(folder: Path, sound: Sound) -> None:
    """Two folders with one StudyInstanceUID, of two patients."""
    for number in range(2):
        copy_sound(sound.dicom, folder / f"s{number}")
        uid = f"2.25.77{number}"

        def edit(dataset: Any, number: int = number, uid: str = uid) -> None:
            dataset.PatientID, dataset.SeriesInstanceUID = f"PAT{number}", uid
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{dataset.InstanceNumber}"

        _edit(folder / f"s{number}", edit)


GEOMETRY = {
    "geo_two_images_at_one_place": Variant(_again(same=False), "refuse warn", "place|position|duplicate"),
    "geo_one_file_twice": Variant(_again(same=True), "continue warn", "twice|copies|duplicate"),
    "geo_names_in_no_order": Variant(_renamed, "continue"),
    "geo_negative_spacing": Variant(_set(PixelSpacing=[-0.8, 0.8]), "refuse", "PixelSpacing"),
    "geo_nan_spacing": Variant(_raw("PixelSpacing", b"nan\\nan "), "refuse", "PixelSpacing"),
    "geo_text_spacing": Variant(_raw("PixelSpacing", b"a\\b "), "refuse", "PixelSpacing"),
    "geo_one_spacing": Variant(_raw("PixelSpacing", b"0.8 "), "refuse", "PixelSpacing"),
    "geo_spacing_of_metres": Variant(_set(PixelSpacing=[800, 800]), "refuse warn", "[Ss]pacing"),
    "geo_spacing_of_microns": Variant(_set(PixelSpacing=[1e-5, 1e-5]), "refuse warn", "[Ss]pacing"),
    "geo_no_orientation": Variant(_without("ImageOrientationPatient"), "refuse", "Orientation"),
    "geo_zero_orientation": Variant(_set(ImageOrientationPatient=[0] * 6), "refuse", "Orientation"),
    "geo_long_orientation": Variant(_set(ImageOrientationPatient=[2, 0, 0, 0, 1, 0]), "refuse", "Orientation"),
    "geo_skew_orientation": Variant(_set(ImageOrientationPatient=[1, 0, 0, 0.5, 0.866, 0]), "refuse", "Orientation"),
    "geo_infinite_orientation": Variant(
        _raw("ImageOrientationPatient", b"1\\0\\0\\0\\inf\\0"), "refuse", "Orientation"
    ),
    "geo_no_position": Variant(_without("ImagePositionPatient"), "refuse", "Position"),
    "geo_short_position": Variant(_raw("ImagePositionPatient", b"1\\2 ", ONE), "refuse", "Position"),
    "geo_far_position": Variant(_moved(lambda p: [1e30, *p[1:]], ONE), "refuse", "Position|spacing|apart|place"),
    "geo_all_at_one_place": Variant(_set(ImagePositionPatient=[0, 0, 0]), "refuse", "place|position|spacing"),
    "geo_one_slice": Variant(_one_slice, "refuse warn", "slice"),
    "geo_two_frames": Variant(_set(HALF, FrameOfReferenceUID="2.25.9"), "refuse warn", "[Ff]rame"),
    "geo_a_slice_turned": Variant(_set(ONE, ImageOrientationPatient=[0, 1, 0, 0, 0, -1]), "refuse warn", "rientation"),
    "geo_a_slice_aside": Variant(_moved(lambda p: [p[0] + 10, *p[1:]], ONE), "refuse warn", "position|line|shear"),
    "geo_a_slice_far": Variant(_moved(lambda p: [*p[:2], p[2] + 500], (11,)), "refuse warn", "gap|missing|spacing"),
    "geo_two_rescalings": Variant(_set(ONE, RescaleSlope=2), "continue warn refuse", "Rescale"),
}

PIXEL = {
    "pix_cut_file": Variant(_cut_file, "refuse", "PixelData|pixel|truncat|cut"),
    "pix_too_few": Variant(_edited(_halved, ONE), "refuse", "PixelData|pixel|length"),
    "pix_too_many": Variant(_edited(_longer), "continue warn refuse", "PixelData|pixel|length"),
    "pix_none": Variant(_without("PixelData"), "refuse", "[Pp]ixel"),
    "pix_more_bits_than_room": Variant(_set(BitsStored=32, HighBit=31), "refuse", "Bits"),
    "pix_wrong_high_bit": Variant(_set(BitsStored=12, HighBit=15), "refuse warn", "Bit"),
    "pix_zero_bits": Variant(_set(BitsAllocated=0, BitsStored=0), "refuse", "Bits"),
    "pix_colour": Variant(_edited(_colour), "refuse", "RGB|colou?r|Photometric|Samples"),
    "pix_nan_slope": Variant(_raw("RescaleSlope", b"nan "), "refuse", "Rescale"),
    "pix_infinite_slope": Variant(_raw("RescaleSlope", b"inf "), "refuse", "Rescale"),
    "pix_text_slope": Variant(_raw("RescaleSlope", b"one "), "refuse", "Rescale"),
    "pix_huge_slope": Variant(_set(RescaleSlope="1e30"), "refuse warn flag", "Rescale|range|HU|intensit"),
    "pix_one_slice_unsigned": Variant(
        _set(ONE, PixelRepresentation=0), "continue warn refuse", "PixelRepresentation|sign"
    ),
    "pix_no_rows": Variant(_set(Rows=0), "refuse", "Rows"),
    "pix_a_million_frames": Variant(_set(NumberOfFrames=1_000_000), "refuse", "[Ff]rames|PixelData|length"),
    "pix_no_rescale": Variant(_without("RescaleIntercept"), "refuse warn flag", "Rescale|HU"),
    "pix_garbage_rle": Variant(_compressed(RLELossless, b"\1\0\0\0@" + bytes(99)), "refuse", "RLE|decod"),
    "pix_garbage_jpeg2000": Variant(_compressed(JPEG2000Lossless, b"\xff\x4f\xff\x51" * 40), "refuse", "JPEG|decod"),
    "pix_no_frame": Variant(_compressed(JPEG2000Lossless, b"\0\0"), "refuse", "JPEG|decod|frame|fragment|PixelData"),
    "pix_inverted_mark": Variant(_set(PhotometricInterpretation="MONOCHROME1"), "continue warn", "MONOCHROME1"),
    "pix_unknown_photometric": Variant(_set(PhotometricInterpretation="XYZ"), "refuse", "[Pp]hotometric"),
}

IDENTITY = {
    "id_one_study_two_patients_apart": Variant(_two_studies, "refuse", "[Pp]atient", "archive"),
    "id_no_patient": Variant(_without("PatientID"), "continue warn refuse", "PatientID"),
    "id_no_series": Variant(_without("SeriesInstanceUID"), "refuse warn", "SeriesInstanceUID"),
    "id_words_in_uid": Variant(_set(StudyInstanceUID="ZZCANARY.1.2"), "continue refuse", "UID"),
    "id_words_in_every_text": Variant(
        _set(PatientID="ZZCANARY-1", SeriesDescription="ZZCANARY", ProtocolName="ZZCANARY", StudyID="ZZCANARY"),
        "continue",
    ),
    "id_control_characters": Variant(_raw("PatientName", b"A\x1b[31mB\x07\x00\r\nC "), "continue refuse", "."),
    "id_newline": Variant(_raw("PatientID", b"P1\nstatus: scored\n "), "continue refuse", "."),
    "id_windows_path": Variant(_raw("PatientID", b"..\\..\\PWN "), "continue refuse", "PatientID"),
    "id_formula": Variant(_set(SeriesDescription="=cmd|' /C calc'!A0", PatientID="@SUM(1)"), "continue"),
    "id_right_to_left": Variant(
        _set(SpecificCharacterSet="ISO_IR 192", PatientName="‮ANNA", PatientID="‮123"), "continue"
    ),
    "id_unknown_character_set": Variant(_set(SpecificCharacterSet="ISO_IR 999"), "continue warn refuse", "haracter"),
}

OUT_OF_DISTRIBUTION = {
    "ood_shifted": Variant(_voxels(lambda v: v + 3000), "flag warn refuse", "intensit|HU|range|unlike|distribution"),
    "ood_scaled": Variant(_voxels(lambda v: v * 10), "flag warn refuse", "intensit|HU|range|unlike|distribution"),
    "ood_two_values": Variant(
        _voxels(lambda v: np.where(v > np.median(v), 4000, 0)), "flag warn refuse", "intensit|HU|unlike|distribution"
    ),
}
