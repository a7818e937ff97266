"""DICOM -> NIfTI with both forms, and a BIDS-like JSON beside it that names no patient and no date."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medfuse import __version__
from medfuse.errors import DataError, UsageError, VolumeError
from medfuse.io.dicom import read_stack
from medfuse.io.dicom_headers import SliceHeader
from medfuse.io.dicom_split import Stack, split_series
from medfuse.io.files import input_files
from medfuse.io.nifti import is_nifti
from medfuse.io.nifti_writer import is_sheared, write_nifti
from medfuse.io.pseudonyms import Pseudonymizer
from medfuse.io.tag_walker import HeaderReader
from medfuse.progress import Progress
from medfuse.types import Volume

__all__ = ["Conversion", "convert"]

ENDS = (".nii.gz", ".nii")
PLAIN = re.compile(r"[A-Za-z0-9_.+/ -]{1,32}")
"""What a header text that is copied looks like; another one might say more than it should."""

COPIED = ("Modality", "Manufacturer", "ConvolutionKernel")
MILLISECONDS = ("EchoTime", "InversionTime")
"""In ms in DICOM, in s in BIDS."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion wrote, and what it refused: (series or file, by pseudonym, why)."""

    written: tuple[Path, ...]
    refused: tuple[tuple[str, DataError], ...]


def convert(
    source: Path, out: Path, *, pseudonymizer: Pseudonymizer, overwrite: bool = False, progress: Progress = iter
) -> Conversion:
    """Convert DICOM images to NIfTI, one file a volume.

    Parameters
    ----------
    source : Path
        A DICOM file, or a folder, zip, tar or DICOMDIR of them. Localizers, secondary captures and the like are
        left out.
    out : Path
        A folder, which gets <series key>.nii.gz and .json (with ``_vol-<n>`` where a series holds several
        volumes); or a name that ends in .nii or .nii.gz, for exactly one volume.
    pseudonymizer : Pseudonymizer
    overwrite : bool
        Whether files that exist are replaced.
    progress : callable
        Wraps the volumes, for example to show a bar.

    Returns
    -------
    Conversion
        One series that is refused does not stop the others.

    Raises
    ------
    UsageError
        If there is no DICOM image, a file exists, or there are several volumes for one name. Nothing is written.
    """
    series, refused = _find(source, pseudonymizer)
    stacks: list[tuple[str, Stack]] = []
    for key, slices in series.items():
        try:
            found = split_series(slices, where=f"series {key}")
        except DataError as error:
            refused.append((key, error))
            continue
        stacks += [(key if len(found) == 1 else f"{key}_vol-{n:03d}", stack) for n, stack in enumerate(found, start=1)]
    if not stacks and not refused:
        raise UsageError("INPUT", "found no DICOM image", expected="a DICOM file, or a folder, zip or tar of them")
    targets = _targets(out, [name for name, _ in stacks])
    if not overwrite and any(path.exists() for target in targets for path in (target, _json_beside(target))):
        raise UsageError("OUT", "found files that are there already", expected="another folder, or --overwrite")
    written = []
    for (name, stack), target in zip(progress(stacks), targets, strict=True):
        try:
            _write(stack, read_stack(stack, where=f"series {name}"), target)
            written.append(target)
        except DataError as error:
            refused.append((name, error))
    return Conversion(tuple(written), tuple(refused))


def _find(source: Path, names: Pseudonymizer) -> tuple[dict[str, list[SliceHeader]], list[tuple[str, DataError]]]:
    """Return the slices of each series, by its key, and what cannot be read."""
    problems: list[tuple[Path, DataError]] = []
    if not source.exists():
        raise UsageError("INPUT", "found no such file or folder", expected="DICOM images")
    series: dict[str, list[SliceHeader]] = defaultdict(list)
    reader = HeaderReader()
    for path in input_files(source, problems=problems):
        try:
            header = None if is_nifti(path) else reader.read(path)
            if header is None:
                continue
            if not (uid := header.text("SeriesInstanceUID")):
                raise VolumeError("DICOM file", "found no SeriesInstanceUID", expected="one in each image")
            series[names.series(uid)].append(header)
        except DataError as error:
            problems.append((path, error))
    refused = [(names.file(os.path.relpath(path, source.parent)), error) for path, error in problems]
    volumes = {key: slices for key, slices in sorted(series.items()) if not all(item.is_auxiliary for item in slices)}
    return volumes or dict(sorted(series.items())), refused


def _targets(out: Path, names: Sequence[str]) -> list[Path]:
    if not out.name.lower().endswith(ENDS):
        if out.exists() and not out.is_dir():
            raise UsageError("OUT", "found a file", expected="a folder, or a name that ends in .nii or .nii.gz")
        return [out / f"{name}.nii.gz" for name in names]
    if len(names) > 1:
        raise UsageError("OUT", f"found {len(names)} volumes for one file name", expected="a folder")
    return [out for _ in names]


def _json_beside(target: Path) -> Path:
    end = next(end for end in ENDS if target.name.lower().endswith(end))
    return target.with_name(f"{target.name[: -len(end)]}.json")


def _write(stack: Stack, volume: Volume, target: Path) -> None:
    text = json.dumps(_describe(stack, volume), indent=2) + "\n"
    write_nifti(volume, target)
    beside = _json_beside(target)
    partial = beside.with_name(f".{beside.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(beside)


def _describe(stack: Stack, volume: Volume) -> Mapping[str, object]:
    """Return the JSON: what an analysis needs to know, and nothing that says whose image it is.

    Source: BIDS 1.10, the names of its MRI and PET metadata.
    """
    first = stack.slices[0]
    copied = {keyword: first.text(keyword).strip() for keyword in COPIED}
    seconds = {keyword: _number(first.text(keyword)) for keyword in MILLISECONDS}
    sheared = is_sheared(volume.affine)
    return {
        **{keyword: text for keyword, text in copied.items() if PLAIN.fullmatch(text)},
        **{keyword: value / 1000 for keyword, value in seconds.items() if value is not None},
        "VoxelSpacing": [round(value, 6) for value in volume.spacing_mm],
        "VoxelSpacingUnits": "mm",
        "Units": volume.unit,
        "SformCode": 1,
        "QformCode": 0 if sheared else 1,
        "Geometry": "sheared (gantry tilt): the sform alone holds it" if sheared else "sform and qform are equal",
        "Warnings": list(volume.warnings),
        "ConversionSoftware": "medfuse",
        "ConversionSoftwareVersion": __version__,
    }


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
