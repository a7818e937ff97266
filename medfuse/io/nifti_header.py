"""What a NIfTI file says of itself: where its voxels lie in the file, and where in space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from medfuse.errors import GeometryError, PixelError, VolumeError
from medfuse.types import Array

__all__ = ["FORM_TOLERANCE_MM", "HEADER_BYTES", "NiftiHeader", "is_header", "parse_header"]

FORM_TOLERANCE_MM = 1e-3
"""Corners placed further apart than this by sform and qform are worth a warning."""

QUATERNION_TOLERANCE = 1e-6
"""Quaternions nearer than this are one: in float32 they place corners up to 0.1 mm apart for turns near 180 degrees."""

SHEAR_TOLERANCE = 1e-3
"""Cosine of the angle between two axes, at right angles 0, above which a warning is due."""

HEADER_BYTES = 540
"""Of NIfTI-2; NIfTI-1 has 348."""

MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""By the code in xyzt_units: unknown (mm by custom), metre, millimetre, micrometre."""

MAX_SPACING_MM = 100.0
MAX_FORM_CODE = 5
MAX_OFFSET = 2**27
"""Bytes; header extensions are never near it."""

CIFTI = range(3000, 3100)
MESHES = {1008: "a set of points", 1009: "a set of triangles"}
"""Intent codes of what is stored as NIfTI but is no image. Source: nifti1.h; CIFTI-2, appendix A."""

SINGLE, PAIR = (b"n+1", b"n+2"), (b"ni1", b"ni2")
WHERE = "NIfTI file"


@dataclass(frozen=True, slots=True, eq=False)
class NiftiHeader:
    """The header of a NIfTI file, checked.

    Parameters
    ----------
    shape : tuple of int
        (I, J, K) of one volume.
    n_volumes : int
        Product of the further dimensions: time points, directions.
    dtype : numpy.dtype
        Of the stored values, in the file's byte order.
    offset : int
        Of the first voxel in its file, in bytes.
    scaling : (slope, intercept), optional
        None where the stored values are the values.
    affine : ndarray, shape (4, 4)
        Index to RAS+ mm.
    warnings : tuple of str
    is_pair : bool
        Whether the voxels lie in an .img file.
    """

    shape: tuple[int, int, int]
    n_volumes: int
    dtype: np.dtype[Any]
    offset: int
    scaling: tuple[float, float] | None
    affine: Array
    warnings: tuple[str, ...]
    is_pair: bool

    @property
    def volume_bytes(self) -> int:
        """Bytes of one stored volume."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def voxel_dtype(self) -> np.dtype[Any]:
        """Type of the values in memory: the stored whole numbers where nothing scales them, else float32."""
        is_whole = self.scaling is None and self.dtype.kind != "f"
        return self.dtype.newbyteorder("=") if is_whole else np.dtype(np.float32)

    @property
    def memory_bytes(self) -> int:
        """Bytes that all volumes take in memory."""
        return math.prod(self.shape) * self.n_volumes * self.voxel_dtype.itemsize


def is_header(head: bytes) -> bool:
    """Tell whether bytes start as a NIfTI (or Analyze) header does, by its stated size.

    Examples
    --------
    >>> is_header((348).to_bytes(4, "little")), is_header((540).to_bytes(4, "big")), is_header(b"ENVI")
    (True, True, False)
    """
    return any(int.from_bytes(head[:4], order) in (348, 540) for order in ("little", "big"))


def parse_header(head: bytes) -> NiftiHeader:
    """Read and check a header.

    Parameters
    ----------
    head : bytes
        The first `HEADER_BYTES` of the file, decompressed.

    Returns
    -------
    NiftiHeader

    Raises
    ------
    VolumeError
        If it is no NIfTI header, or its dimensions are invalid.
    PixelError
        If its voxels are no real numbers, or its scaling is not finite.
    GeometryError
        If it does not say where its voxels lie, or contradicts itself.

    Notes
    -----
    Source: NIfTI-1 and NIfTI-2 standards; method 3 (sform) before method 2 (qform).
    """
    header, magic = _raw_header(head)
    dims = [int(n) for n in header["dim"]]
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1:
        raise VolumeError(WHERE, "found an invalid dim: a size that is negative or 0", expected="sizes above 0")
    if dims[0] < 3:
        raise VolumeError(WHERE, f"found {dims[0]} dimensions", expected="three axes, and perhaps time")
    _check_intent(int(header["intent_code"]))
    scale, units_note = _unit(int(header["xyzt_units"]))
    affine, notes = _affine(header, dims[1:4], scale)
    return NiftiHeader(
        shape=(dims[1], dims[2], dims[3]),
        n_volumes=math.prod(dims[4 : dims[0] + 1]),
        dtype=_dtype(header),
        offset=_offset(header, is_pair=magic in PAIR),
        scaling=_scaling(header),
        affine=affine,
        warnings=units_note + notes,
        is_pair=magic in PAIR,
    )


def _check_intent(code: int) -> None:
    kind = "a CIFTI matrix" if code in CIFTI else MESHES.get(code)
    if kind:
        raise VolumeError(WHERE, f"found {kind} (intent_code {code})", expected="an image on a grid in space")


def _raw_header(head: bytes) -> tuple[Any, bytes]:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    if not is_header(head):
        raise VolumeError(WHERE, "its header cannot be read: it is no NIfTI", expected="a whole NIfTI file")
    kind: Any = (
        Nifti2Header if 540 in (int.from_bytes(head[:4], order) for order in ("little", "big")) else Nifti1Header
    )
    size = int(kind.template_dtype.itemsize)
    if len(head) < size:
        raise VolumeError(WHERE, f"found a truncated header of {len(head)} bytes", expected=f"{size}")
    header = kind(head[:size], check=False)
    magic = bytes(header["magic"])[:3]
    if magic not in (*SINGLE, *PAIR):
        found = "found Analyze 7.5 or no NIfTI: its header has no magic and says no orientation"
        raise VolumeError(WHERE, found, expected="n+1, ni1, n+2 or ni2")
    return header, magic


def _dtype(header: Any) -> np.dtype[Any]:
    from nibabel.spatialimages import HeaderDataError

    code = int(header["datatype"])
    try:
        dtype: np.dtype[Any] = np.dtype(header.get_data_dtype())
    except (HeaderDataError, KeyError) as error:
        raise PixelError(WHERE, f"found an unknown data type (code {code})", expected="real numbers") from error
    if dtype.kind not in "iuf" or not dtype.itemsize:
        kind = "complex numbers" if dtype.kind == "c" else "RGB colour" if dtype.names else "bits"
        found = f"found voxels of data type {code}, {kind}"
        raise PixelError(WHERE, found, expected="real numbers, not complex or colour")
    return dtype


def _offset(header: Any, *, is_pair: bool) -> int:
    value = float(header["vox_offset"])
    smallest = 0 if is_pair else header.template_dtype.itemsize + 4
    if not is_pair and value == 0:
        return int(smallest)  # as nibabel and the NIfTI library read it
    if not smallest <= value <= MAX_OFFSET or value != int(value):
        raise VolumeError(WHERE, "found an invalid vox_offset", expected=f"{smallest} or more")
    return int(value)


def _scaling(header: Any) -> tuple[float, float] | None:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):  # the standard's and nibabel's word for "none"
        return None
    if not math.isfinite(intercept):
        raise PixelError(WHERE, "found a scl_inter that is not finite", expected="a number beside scl_slope")
    return None if (slope, intercept) == (1, 0) else (slope, intercept)


def _unit(code: int) -> tuple[float, tuple[str, ...]]:
    spatial = code & 0x07
    if spatial not in MM_PER_UNIT:
        raise GeometryError(WHERE, f"found an unknown spatial unit (code {spatial})", expected="m, mm or micron")
    name = {1: "metre", 3: "micrometre"}.get(spatial)
    return MM_PER_UNIT[spatial], (f"its unit is the {name}; the affine is scaled to mm",) if name else ()


def _affine(header: Any, shape: list[int], scale: float) -> tuple[Array, tuple[str, ...]]:
    s_code, q_code = int(header["sform_code"]), int(header["qform_code"])
    if not (0 <= s_code <= MAX_FORM_CODE and 0 <= q_code <= MAX_FORM_CODE):
        raise GeometryError(WHERE, "found an invalid sform_code or qform_code", expected=f"0 to {MAX_FORM_CODE}")
    qform = _qform(header) if q_code else None
    notes: tuple[str, ...] = ()
    if s_code:
        affine = np.vstack([header["srow_x"], header["srow_y"], header["srow_z"], [0, 0, 0, 1]]).astype(np.float64)
        _check(affine, "sform")
        notes = _compare(header, affine, qform, shape, scale) if q_code else ()
        notes += ("the affine is sheared: its axes are not at right angles",) if _is_sheared(affine) else ()
    elif q_code:
        if qform is None:
            raise GeometryError(WHERE, "found an invalid qform (or pixdim) and no sform", expected="one valid form")
        affine = qform
        _check(affine, "qform")
    else:
        if not np.all(_pixdim(header) > 0):
            raise GeometryError(WHERE, "found a pixdim (voxel spacing) that is not above 0", expected="mm")
        _check(np.diag([*_pixdim(header), 1.0]), "pixdim")
        affine = np.asarray(header.get_base_affine(), dtype=np.float64)
        notes = ("neither sform nor qform: position and orientation are unknown, spacing is from pixdim",)
    affine[:3] *= scale
    if scale != 1 and float(np.linalg.norm(affine[:3, :3], axis=0).max()) > MAX_SPACING_MM:
        found = f"found a voxel spacing above {MAX_SPACING_MM:g} mm by its unit"
        raise GeometryError(WHERE, found, expected="a unit that its spacing is in")
    return affine, notes


def _pixdim(header: Any) -> Array:
    return np.asarray(header["pixdim"][1:4], dtype=np.float64)


def _check(affine: Array, name: str) -> None:
    if not np.all(np.isfinite(affine)):
        raise GeometryError(WHERE, f"found an affine ({name}) that is NaN or not finite", expected="finite numbers")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    # Of directions alone, so that small voxels are no fault.
    if lengths.min() <= 0 or abs(float(np.linalg.det(affine[:3, :3] / lengths))) < 1e-6:
        found = f"found a singular affine ({name}): a spacing of 0, or axes in one plane"
        raise GeometryError(WHERE, found, expected="an invertible one")


def _qform(header: Any) -> Array | None:
    if not np.all(_pixdim(header) > 0) or not np.all(np.isfinite(header["pixdim"][:4])):
        return None
    plain = header.copy()
    plain["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1  # qfac, as the standard reads any other value
    try:
        with np.errstate(all="ignore"):
            qform = np.asarray(plain.get_qform(), dtype=np.float64)
    except ValueError:  # a quaternion that is none
        return None
    return qform if np.all(np.isfinite(qform)) else None


def _is_sheared(affine: Array) -> bool:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return not np.allclose(axes.T @ axes, np.eye(3), atol=SHEAR_TOLERANCE)


def _compare(header: Any, sform: Array, qform: Array | None, shape: list[int], scale: float) -> tuple[str, ...]:
    if qform is None:
        return ("its qform is invalid; the sform is used",)
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=np.float64)
    corners[:, :3] *= np.array(shape) - 1
    apart = float(np.abs((sform - qform) @ corners.T)[:3].max()) * scale
    if apart <= FORM_TOLERANCE_MM or _encodes(header, sform):
        return ()
    return (f"sform and qform disagree by up to {apart:.3g} mm; the sform is used",)


def _encodes(header: Any, sform: Array) -> bool:
    """Tell whether the stored qform is this sform as nearly as float32 quaternions can say it."""
    axes = sform[:3, :3] / np.linalg.norm(sform[:3, :3], axis=0)
    if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-5):
        return False
    twin = header.copy()
    twin.set_qform(sform, code=1)
    turn = [abs(float(twin[f]) - float(header[f])) for f in ("quatern_b", "quatern_c", "quatern_d")]
    place = [abs(float(twin[f]) - float(header[f])) for f in ("qoffset_x", "qoffset_y", "qoffset_z")]
    same_spacing = np.allclose(twin["pixdim"][:4], header["pixdim"][:4], rtol=QUATERNION_TOLERANCE, atol=0)
    return max(turn) <= QUATERNION_TOLERANCE and max(place) <= FORM_TOLERANCE_MM and same_spacing
