"""What is written comes back: geometry within 1e-3 mm, values exactly, whatever the affine, type and slope."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medfuse.io import Pseudonymizer, SeriesIdentity, read_volume, read_volumes, write_dicom_series, write_nifti
from medfuse.io.convert import convert
from medfuse.io.dicom_writer import PixelFormat
from medfuse.io.voxel_notes import voxel_notes
from medfuse.types import Volume

IDENTITY = SeriesIdentity(patient_id="a", study_uid="2.25.1", series_uid="2.25.2", frame_of_reference_uid="2.25.3")
NAMES = Pseudonymizer(bytes(32))


@st.composite
def affines(draw: st.DrawFn, *, sheared: bool = True) -> np.ndarray:
    """Draw axis permutations, flips and oblique turns, with any spacing, origin and gantry tilt."""
    if draw(st.booleans()):
        turn = np.eye(3)[list(draw(st.permutations(range(3))))] * draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    else:
        turn = Rotation.random(rng=draw(st.integers(0, 10_000))).as_matrix()
        turn[:, 2] *= draw(st.sampled_from([-1.0, 1.0]))
    spacing = draw(st.tuples(*[st.floats(0.2, 8.0)] * 3))
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    if sheared and draw(st.booleans()):
        affine[:3, 2] += turn[:, 1] * spacing[2] * np.tan(np.radians(draw(st.floats(-30, 30))))
    affine[:3, 3] = draw(st.tuples(*[st.floats(-900.0, 900.0)] * 3))
    return affine


def corners_mm(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    index = np.stack(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij"), axis=-1).reshape(-1, 3)
    return index @ affine[:3, :3].T + affine[:3, 3]


def assert_equal_in_space(back: Volume, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Equal voxels at equal places; DICOM may come back with K reversed."""
    if (np.linalg.inv(affine) @ back.affine)[2, 2] < 0:
        flip = np.eye(4)
        flip[2, 2], flip[2, 3] = -1, voxels.shape[2] - 1
        voxels, affine = voxels[:, :, ::-1], affine @ flip
    assert back.voxels.shape == voxels.shape and np.array_equal(back.voxels, voxels)
    apart = np.abs(corners_mm(back.affine, voxels.shape) - corners_mm(affine, voxels.shape)).max()
    assert apart < 1e-3


shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(2, 7))


@given(
    affine=affines(),
    shape=shapes,
    dtype=st.sampled_from(["int16", "uint16", "int8", "uint8"]),
    slope=st.sampled_from([1.0, 1.0, 0.5, -1.0, 0.1234567, 1e-3]) | st.integers(1, 10**6).map(lambda n: n / 10**4),
    intercept=st.sampled_from([0.0, -1024.0, 0.25, 1000.5]) | st.integers(-(10**6), 10**6).map(lambda n: n / 10**3),
    seed=st.integers(0, 999),
)
@settings(max_examples=60, deadline=None)
def test_dicom_series(affine: np.ndarray, shape, dtype: str, slope: float, intercept: float, seed: int) -> None:
    limits = np.iinfo(dtype)
    stored = np.random.default_rng(seed).integers(limits.min, limits.max, shape, endpoint=True)
    voxels = (stored * slope + intercept).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        pixels: Any = PixelFormat(dtype, slope, intercept)
        write_dicom_series(Volume(voxels, affine), Path(folder), identity=IDENTITY, pixels=pixels)
        assert_equal_in_space(read_volume(folder), voxels, affine)


@given(
    affine=affines(),
    shape=shapes,
    dtype=st.sampled_from(
        [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float16, bool]
    ),
    end=st.sampled_from([".nii", ".nii.gz"]),
    seed=st.integers(0, 999),
)
@settings(max_examples=80, deadline=None)
def test_nifti(affine: np.ndarray, shape, dtype: type, end: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.integer):
        voxels = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
    else:
        voxels = rng.normal(0, 1000, shape).astype(dtype)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"v{end}"
        write_nifti(Volume(voxels, affine), path)
        back = read_volume(path)
    assert_equal_in_space(back, voxels, affine)
    shear = tuple(note for note in back.warnings if "sheared" in note)
    assert tuple(note for note in back.warnings if note not in shear) == voxel_notes(voxels)
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    degrees = np.abs(np.degrees(np.arcsin(axes.T @ axes - np.eye(3)))).max()
    assert bool(shear) == (degrees > 0.1) or 0.01 < degrees < 0.1


@given(affine=affines(), shape=shapes, seed=st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_dicom_through_convert(affine: np.ndarray, shape, seed: int) -> None:
    voxels = np.random.default_rng(seed).integers(-1024, 3000, shape).astype(np.int16)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in"
        write_dicom_series(Volume(voxels, affine, "HU"), source, identity=IDENTITY)
        done = convert(source, Path(folder) / "v.nii.gz", pseudonymizer=NAMES)
        assert_equal_in_space(read_volume(done.written[0]), voxels, affine)


@given(
    affine=affines(sheared=False),
    shape=shapes,
    seed=st.integers(0, 999),
    low=st.floats(0, 0.9),
    share=st.floats(0, 1),
)
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("kind", ["dicom", "nifti"])
def test_box_holds_the_same_voxels_at_the_same_places(
    kind: str, affine: np.ndarray, shape, seed: int, low: float, share: float
) -> None:
    voxels = np.random.default_rng(seed).integers(-1024, 3000, shape).astype(np.int16)
    box = np.array([[low] * 3, [low + share] * 3]) * (np.array(shape) - 1) @ affine[:3, :3].T + affine[:3, 3]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.nii"
        if kind == "dicom":
            write_dicom_series(Volume(voxels, affine, "HU"), Path(folder), identity=IDENTITY)
            path = Path(folder)
        else:
            write_nifti(Volume(voxels, affine), path)
        (whole,) = read_volumes(path)
        part = read_volume(path, box_mm=(tuple(box[0]), tuple(box[1])))
    start = np.rint((np.linalg.inv(whole.affine) @ part.affine)[:3, 3]).astype(int)
    cut = tuple(slice(a, a + n) for a, n in zip(start, part.voxels.shape, strict=True))
    assert np.array_equal(part.voxels, whole.voxels[cut])
    assert np.abs(part.affine @ [0, 0, 0, 1] - whole.affine @ [*start, 1]).max() < 1e-6
