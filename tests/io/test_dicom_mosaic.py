"""Mosaics, built here from a volume, come back as that volume."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from medfuse.errors import VolumeError
from medfuse.io import read_volume, read_volumes
from medfuse.io.dicom_geometry import LPS_TO_RAS

N, ROWS, COLUMNS = 5, 6, 8
SPACING, STEP = (1.5, 1.25), 3.5
"""Between rows, between columns; from slice to slice."""

VOXELS = np.random.default_rng(5).integers(0, 3000, (N, ROWS, COLUMNS)).astype(np.int16)
TURN = Rotation.from_euler("xyz", [10, -15, 25], degrees=True).as_matrix()
FIRST = np.array([-40.0, 12.0, 55.0])


def csa(**tags: list[float]) -> bytes:
    """A CSA header as Siemens writes it since version 2."""
    body = b"SV10\4\3\2\1" + struct.pack("<II", len(tags), 77)
    for name, values in tags.items():
        body += struct.pack("<64si4siii", name.encode(), len(values), b"FD", 4, 6, 77)
        for n in range(6):
            text = f"{values[n]:.8f}".encode() + b"\0" if n < len(values) else b""
            body += struct.pack("<4i", len(text), len(text), 77, len(text)) + text + b"\0" * (-len(text) % 4)
    return body


def tiled(voxels: NDArray[np.int16]) -> NDArray[np.int16]:
    mosaic = np.zeros((3 * ROWS, 3 * COLUMNS), dtype=np.int16)
    for k, plane in enumerate(voxels):
        mosaic[(k // 3) * ROWS :, (k % 3) * COLUMNS :][:ROWS, :COLUMNS] = plane
    return mosaic


@pytest.fixture
def write_mosaic(tmp_path: Path, write_series: Callable[..., list[Path]]) -> Callable[..., Path]:
    def write(*, sign: int = 1, number: int = 1, header: bytes | None = None, **values: object) -> Path:
        folder = tmp_path / "mosaic"
        path = write_series(folder / f"{number}")[0]
        for other in sorted(path.parent.iterdir())[1:]:
            other.unlink()
        dataset = pydicom.dcmread(path)
        row, column, normal = TURN.T
        corner = FIRST - row * SPACING[1] * COLUMNS - column * SPACING[0] * ROWS  # of a slice as large as the mosaic
        dataset.Modality, dataset.SOPClassUID, dataset.Manufacturer = "MR", "1.2.840.10008.5.1.4.1.1.4", "SIEMENS"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]
        dataset.SOPInstanceUID, dataset.InstanceNumber, dataset.AcquisitionNumber = f"2.25.{number}", number, number
        dataset.ImageOrientationPatient, dataset.ImagePositionPatient = [*row, *column], list(corner)
        dataset.PixelSpacing, dataset.SpacingBetweenSlices, dataset.SliceThickness = list(SPACING), STEP, 3
        dataset.Rows, dataset.Columns = 3 * ROWS, 3 * COLUMNS
        dataset.PixelData = (tiled(VOXELS) + number - 1).astype("<i2").tobytes()
        block = dataset.private_block(0x29, "SIEMENS CSA HEADER", create=True)
        whole = csa(NumberOfImagesInMosaic=[N], SliceNormalVector=list(sign * normal))
        block.add_new(0x10, "OB", whole if header is None else header)
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)
        return folder

    return write


@pytest.mark.parametrize("sign", [1, -1])
def test_each_tile_lies_where_its_slice_was_scanned(write_mosaic, sign: int) -> None:
    volume = read_volume(write_mosaic(sign=sign))
    assert volume.voxels.shape == (COLUMNS, ROWS, N)
    row, column, normal = TURN.T
    for k, r, c in [(0, 0, 0), (4, 5, 7), (2, 3, 1)]:
        point = FIRST + row * SPACING[1] * c + column * SPACING[0] * r + sign * normal * STEP * k
        index = np.linalg.solve(volume.affine, [*(LPS_TO_RAS[:3, :3] @ point), 1])[:3]
        assert np.allclose(index, index.round(), atol=1e-4)
        assert volume.voxels[tuple(index.round().astype(int))] == VOXELS[k, r, c]


def test_mosaics_of_a_series_are_its_time_points(write_mosaic) -> None:
    folder = write_mosaic(number=2)
    write_mosaic(number=1)
    volumes = read_volumes(folder)
    assert [np.array_equal(v.voxels, VOXELS.T + t) for t, v in enumerate(volumes)] == [True, True]


def test_box_of_a_mosaic_is_that_of_its_volume(write_mosaic) -> None:
    folder = write_mosaic()
    whole = read_volume(folder)
    box = ((whole.affine @ [2, 1, 1, 1])[:3], (whole.affine @ [5, 4, 3, 1])[:3])
    part = read_volume(folder, box_mm=box)
    index = np.linalg.solve(whole.affine, part.affine)[:3, 3].round().astype(int)
    i, j, k = (slice(start, start + n) for start, n in zip(index, part.voxels.shape, strict=True))
    assert part.voxels.shape < whole.voxels.shape and np.array_equal(part.voxels, whole.voxels[i, j, k])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"header": b""}, "CSA header names no"),
        ({"header": b"SV10 and then nothing that it promises"}, "mosaic that cannot be read"),
        ({"header": csa(NumberOfImagesInMosaic=[N])}, "SliceNormalVector"),
        ({"header": csa(NumberOfImagesInMosaic=[N], SliceNormalVector=[1, 0, 0])}, "not normal"),
        ({"header": csa(NumberOfImagesInMosaic=[17], SliceNormalVector=list(TURN.T[2]))}, "5 x 5 equal tiles"),
        ({"SpacingBetweenSlices": 0}, "SpacingBetweenSlices"),
        ({"Manufacturer": "Acme"}, "layout is unknown"),
    ],
)
def test_mosaic_that_does_not_say_how_its_slices_lie_is_refused(write_mosaic, values, message: str) -> None:
    with pytest.raises(VolumeError, match=message):
        read_volume(write_mosaic(**values))


def test_united_imaging_grid_names_the_position_of_each_slice(write_mosaic) -> None:
    folder = write_mosaic(Manufacturer="UIH", ImageType=["ORIGINAL", "PRIMARY"])
    (path,) = folder.rglob("*.dcm")
    dataset = pydicom.dcmread(path)
    frames = []
    for k in range(N):
        frame = Dataset()
        frame.ImagePositionPatient = list(FIRST - TURN.T[2] * STEP * k)
        frames.append(frame)
    block = dataset.private_block(0x65, "Image Private Header", create=True)
    block.add_new(0x50, "DS", str(N))
    block.add_new(0x51, "SQ", frames)
    dataset.save_as(path)
    volume = read_volume(folder)
    assert np.array_equal(volume.voxels, VOXELS.T[:, :, ::-1])
    assert np.allclose(LPS_TO_RAS[:3, :3] @ volume.affine[:3, 3], FIRST - TURN.T[2] * STEP * (N - 1), atol=1e-6)


def test_united_imaging_image_without_a_grid_is_a_slice(write_mosaic) -> None:
    volume = read_volume(write_mosaic(Manufacturer="UIH", ImageType=["ORIGINAL", "PRIMARY"]))
    assert volume.voxels.shape == (3 * COLUMNS, 3 * ROWS, 1)
