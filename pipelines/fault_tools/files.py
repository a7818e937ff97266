"""Faults of NIfTI images, archives and reports."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from pipelines.fault_tools.variant import Sound, Variant, copy_sound

__all__ = ["ARCHIVE", "NIFTI", "TEXT"]

nib: Any = nibabel
Make = Callable[[Path, Sound], None]
Voxels = NDArray[np.generic]
MARKER, TEMPORARY = "PWNED_BY_FAULTCASE", tempfile.gettempdir()
VOX_OFFSET, DATATYPE, MAGIC, PIXDIM = 108, 70, 344, 76
"""Where they are in a NIfTI-1 header."""


def _image(change: Callable[[Voxels], Voxels], affine: NDArray[np.float64] | None = None) -> Make:
    def make(folder: Path, sound: Sound) -> None:
        copy_sound(sound.nifti, folder)
        path = folder / "image.nii.gz"
        image = nib.load(path)
        voxels = change(np.asanyarray(image.dataobj))
        nib.save(nib.Nifti1Image(voxels, image.affine if affine is None else affine), path)

    return make


def _bytes(change: Callable[[bytearray], bytearray | bytes], *, zipped: bool = True) -> Make:
    """Return what changes an image's bytes, before they are zipped or after."""

    def make(folder: Path, sound: Sound) -> None:
        copy_sound(sound.nifti, folder)
        path = folder / "image.nii.gz"
        data = path.read_bytes()
        path.write_bytes(gzip.compress(change(bytearray(gzip.decompress(data)))) if zipped else change(bytearray(data)))

    return make


def _put(offset: int, layout: str, *values: float) -> Make:
    def change(data: bytearray) -> bytearray:
        struct.pack_into(layout, data, offset, *values)
        return data

    return _bytes(change)


def _some(value: float) -> Callable[[Voxels], Voxels]:
    def change(voxels: Voxels) -> Voxels:
        changed = voxels.astype(np.float32)
        changed[3:6, 3:6, 3] = value
        return changed

    return change


def _mask(voxels_of: Callable[[tuple[int, ...]], Voxels]) -> Make:
    def make(folder: Path, sound: Sound) -> None:
        copy_sound(sound.nifti, folder)
        image = nib.load(folder / "image.nii.gz")
        nib.save(nib.Nifti1Image(voxels_of(image.shape), image.affine), folder / "mask.nii.gz")

    return make


def _text(content: bytes, name: str = "report.txt") -> Make:
    def make(folder: Path, sound: Sound) -> None:
        copy_sound(sound.dicom, folder, without=["report.txt"])
        (folder / name).write_bytes(content)

    return make


def _zip(fill: Callable[[zipfile.ZipFile], None], *, cut: int = 0) -> Make:
    """Return what puts the sound study and more into a zip, and cuts its end off."""

    def make(folder: Path, sound: Sound) -> None:
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(sound.dicom.rglob("*")):
                if path.is_file():
                    file.writestr(str(path.relative_to(sound.dicom)), path.read_bytes())
            fill(file)
        (folder / "study.zip").write_bytes(data.getvalue()[: len(data.getvalue()) - cut])

    return make


def _nothing(file: zipfile.ZipFile) -> None:
    """Add nothing."""


def _nested(file: zipfile.ZipFile) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as within:
        within.writestr("report.txt", b"x")
    file.writestr("inner.zip", inner.getvalue())


def _locked(folder: Path, sound: Sound) -> None:
    """Say of every member that it is encrypted."""
    _zip(_nothing)(folder, sound)
    data = bytearray((folder / "study.zip").read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = data.find(signature)
        while start >= 0:
            data[start + offset] |= 1
            start = data.find(signature, start + 4)
    (folder / "study.zip").write_bytes(data)


def _tar(kind: bytes, target: str) -> Make:
    def make(folder: Path, sound: Sound) -> None:
        with tarfile.open(folder / "study.tar", "w") as file:
            for path in sorted(sound.dicom.rglob("*")):
                file.add(path, str(path.relative_to(sound.dicom)), recursive=False)
            member = tarfile.TarInfo("dicom/more.dcm")
            member.type, member.linkname = kind, target
            file.addfile(member)

    return make


def _beside(add: Callable[[Path], None]) -> Make:
    def make(folder: Path, sound: Sound) -> None:
        copy_sound(sound.dicom, folder)
        add(folder)

    return make


def _loop(folder: Path) -> None:
    (folder / "dicom" / "again").symlink_to(folder, target_is_directory=True)
    (folder / "dicom" / "self").symlink_to("self")


def _deep(folder: Path) -> None:
    here = folder
    for _ in range(120):
        here = here / "folder"
    here.mkdir(parents=True)
    (here / "note.txt").write_bytes(b"x")


def _junk(folder: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "DICOMDIR", "empty.dcm", "autorun.inf", "._IM0001.dcm", "report (1).pdf"):
        (folder / "dicom" / name).write_bytes(b"" if name == "empty.dcm" else bytes(range(200)))


def _odd_names(folder: Path) -> None:
    for name in (b"\xff\xfe.dcm", b"new\nline.dcm", b"-rf", b"$(touch x).dcm", b"\x1b[31m.dcm"):
        Path(os.fsdecode(bytes(folder / "dicom") + b"/" + name)).write_bytes(b"no image")


def _part_of_dicom(folder: Path) -> None:
    (folder / "dicom" / "broken.dcm").write_bytes(bytes(128) + b"DICM" + b"\2\0\0\0UL\4\0\xff\xff\xff\x7f")


TOO_LARGE = "too large|larger|bytes|expand|bomb|ratio|size"
NUMBERS = "finite|NaN|inf"

NIFTI = {
    "nii_nan": Variant(_image(_some(np.nan)), "refuse warn", NUMBERS),
    "nii_all_nan": Variant(_image(lambda v: np.full(v.shape, np.nan, np.float32)), "refuse", f"{NUMBERS}|constant"),
    "nii_minus_infinite": Variant(_image(_some(-np.inf)), "refuse warn", NUMBERS),
    "nii_huge_value": Variant(_image(_some(1e30)), "refuse warn flag", "intensit|HU|range|unlike|distribution"),
    "nii_four_axes": Variant(_image(lambda v: np.stack([v, v], axis=-1)), "refuse warn", "4D|time|dim|axes|volumes"),
    "nii_flat": Variant(_image(lambda v: v[:, :, 0]), "refuse", "dim|2D|slice|axes|shape"),
    "nii_one_voxel": Variant(_image(lambda v: v[:1, :1, :1]), "refuse warn flag", "slice|small|shape|constant|voxel"),
    "nii_cut": Variant(_bytes(lambda d: d[: len(d) // 2]), "refuse", "truncat|bytes|short|end|length"),
    "nii_cut_zipped": Variant(_bytes(lambda d: d[: len(d) // 2], zipped=False), "refuse", "truncat|cut|EOF"),
    "nii_flipped_zipped": Variant(
        _bytes(lambda d: bytes([*d[:3000], d[3000] ^ 255, *d[3001:]]), zipped=False), "refuse", "corrupt"
    ),
    "nii_zip_bomb": Variant(_bytes(lambda d: bytes(d) + bytes(3 << 30)), "refuse continue warn", TOO_LARGE),
    "nii_not_nifti": Variant(_put(MAGIC, "<i", 77), "refuse", "NIfTI|magic|header"),
    "nii_unknown_type": Variant(_put(DATATYPE, "<h", 999), "refuse", "data ?type|datatype|dtype"),
    "nii_colour": Variant(_put(DATATYPE, "<h", 128), "refuse", "data ?type|RGB|colou?r|bytes|truncat"),
    "nii_late_data": Variant(_put(VOX_OFFSET, "<f", 1e9), "refuse", "offset|bytes|truncat"),
    "nii_early_data": Variant(_put(VOX_OFFSET, "<f", 4), "refuse warn", "offset|header"),
    "nii_nan_offset": Variant(_put(VOX_OFFSET, "<f", np.nan), "refuse", "offset|header|NaN"),
    "nii_infinite_slope": Variant(_put(112, "<f", np.inf), "refuse warn", "slope|scl|finite|scal"),
    "nii_huge_spacing": Variant(_image(lambda v: v, np.diag([800.0, 800, 2500, 1])), "refuse warn", "[Ss]pacing"),
    "nii_sheared": Variant(
        _image(lambda v: v, np.array([[0.8, 0.5, 0, 0], [0, 0.8, 0, 0], [0, 0, 2.5, 0], [0, 0, 0, 1]])),
        "refuse warn",
        "shear|orthogonal|affine|skew",
    ),
    "nii_mask_empty": Variant(_mask(lambda s: np.zeros(s, np.uint8)), "refuse warn", "mask|empty"),
    "nii_mask_full": Variant(_mask(lambda s: np.ones(s, np.uint8)), "continue warn refuse", "mask"),
    "nii_mask_nan": Variant(_mask(lambda s: np.full(s, np.nan, np.float32)), "refuse", f"mask|{NUMBERS}"),
    "nii_mask_of_four_axes": Variant(_mask(lambda s: np.ones((*s, 2), np.uint8)), "refuse", "mask|shape|dim|4D"),
}

ARCHIVE = {
    "arc_zip_bomb": Variant(
        _zip(lambda file: file.writestr("dicom/more.dcm", bytes(1 << 30))), "refuse continue warn", TOO_LARGE, "zip"
    ),
    "arc_zip_absolute": Variant(
        _zip(lambda file: file.writestr(f"{TEMPORARY}/{MARKER}", b"x")), "refuse continue warn", "path|outside", "zip"
    ),
    "arc_zip_of_windows": Variant(
        _zip(lambda file: file.writestr(f"..\\..\\{MARKER}", b"x")), "refuse continue warn", "path|outside", "zip"
    ),
    "arc_zip_in_zip": Variant(_zip(_nested), "continue warn refuse", "zip|within|nested", "zip"),
    "arc_zip_cut": Variant(_zip(_nothing, cut=300), "refuse", "zip|cut|truncat|damaged|cannot be read", "zip"),
    "arc_zip_locked": Variant(_locked, "refuse", "encrypt|password", "zip"),
    "arc_tar_hard_link": Variant(_tar(tarfile.LNKTYPE, "/etc/passwd"), "refuse continue warn", "link", "tar"),
    "arc_tar_device": Variant(_tar(tarfile.CHRTYPE, ""), "continue warn refuse", "device|regular|member", "tar"),
    "arc_link_loop": Variant(_beside(_loop), "continue warn", "link"),
    "arc_deep": Variant(_beside(_deep), "continue"),
    "arc_junk": Variant(_beside(_junk), "continue warn", "DICOMDIR|"),
    "arc_odd_names": Variant(_beside(_odd_names), "continue"),
    "arc_part_of_a_file": Variant(_beside(_part_of_dicom), "refuse warn continue", "header|length|cut|truncat|DICOM"),
    "arc_empty": Variant(lambda folder, sound: None, "refuse", "no stud|nothing|empty|no image|found no", "archive"),
}

FINDINGS = b"FINDINGS: A 6 mm nodule in the left lower lobe. IMPRESSION: Nodule. "
LONG = "long|truncat|large|token"
TEXT = {
    "txt_nul": Variant(_text(FINDINGS + bytes(50)), "continue warn refuse", "encoding|character|control"),
    "txt_random": Variant(_text(bytes(range(256)) * 40), "warn refuse", "encoding|text|decode"),
    "txt_pickle": Variant(_text(b"\x80\x04\x95" + bytes(200)), "warn refuse", "encoding|text|decode|empty"),
    "txt_pdf": Variant(_text(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj<<>>endobj"), "warn refuse", "PDF|encoding|text"),
    "txt_escapes": Variant(
        _text(FINDINGS + b"\x1b[31mred\x1b[0m\x07\r\r"), "continue warn refuse", "control character"
    ),
    "txt_right_to_left": Variant(_text(FINDINGS + "‮ no nodule ‬".encode()), "continue warn", "character|direction"),
    "txt_measures": Variant(_text(FINDINGS + b"1 x 1 x 1 mm x " * 40_000), "continue warn refuse", LONG),
    "txt_spaces": Variant(_text(FINDINGS + b" \t" * 400_000 + b"end"), "continue warn refuse", LONG),
    "txt_brackets": Variant(_text(FINDINGS + b"(" * 200_000), "continue warn refuse", LONG),
    "txt_digits": Variant(_text(FINDINGS + b"1" * 400_000), "continue warn refuse", LONG),
    "txt_dots": Variant(_text(FINDINGS + b". " * 200_000), "continue warn refuse", LONG),
    "txt_colons": Variant(_text(b"FINDINGS:\n" * 40_000 + FINDINGS), "continue warn refuse", LONG),
    "txt_accents": Variant(_text(FINDINGS + ("a" + "́" * 200_000).encode()), "continue warn refuse", LONG),
    "txt_markup": Variant(_text(b"<html>" + b"<div>" * 20_000 + FINDINGS, "report.html"), "continue warn refuse", LONG),
    "txt_rtf": Variant(_text(rb"{\rtf1" + b"{" * 20_000 + FINDINGS), "continue warn refuse", LONG),
    "txt_hundred_megabytes": Variant(_text(FINDINGS + b"word " * 20_000_000), "refuse warn", LONG),
    "txt_folder": Variant(_beside(lambda folder: (folder / "report.html").mkdir()), "continue warn refuse", "report"),
}
