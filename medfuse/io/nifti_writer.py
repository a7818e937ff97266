"""Volume -> NIfTI."""

from __future__ import annotations

import gzip
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from medfuse.types import Array, Volume

__all__ = ["is_sheared", "write_nifti"]


def write_nifti(volume: Volume, path: Path) -> None:
    """Write a volume, whole or not at all. Equal volumes give equal files.

    Parameters
    ----------
    volume : Volume
        A sheared affine is written as sform alone, since a qform cannot hold it. Masks become uint8.
    path : Path
        .nii or .nii.gz.
    """
    import nibabel

    voxels = volume.voxels
    if voxels.dtype in (np.bool_, np.float16):  # NIfTI has neither
        voxels = voxels.astype(np.uint8 if voxels.dtype == np.bool_ else np.float32)
    kind: Any = nibabel.Nifti1Image if max(voxels.shape) < 2**15 else nibabel.Nifti2Image
    image: Any = kind(voxels, volume.affine, dtype=voxels.dtype)
    image.set_sform(volume.affine, code="scanner")
    if is_sheared(volume.affine):
        image.set_qform(None, code="unknown")
    else:
        image.set_qform(volume.affine, code="scanner")
    image.header.set_xyzt_units("mm", "sec")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with ExitStack() as stack:
        file: Any = stack.enter_context(partial.open("wb"))
        if path.name.endswith(".gz"):
            # Neither name nor time is stored, so that equal volumes are equal files.
            file = stack.enter_context(gzip.GzipFile("", "wb", compresslevel=4, fileobj=file, mtime=0))
        image.to_stream(file)
    partial.replace(path)


def is_sheared(affine: Array) -> bool:
    """Tell whether an affine's axes are not at right angles, which a qform cannot hold.

    Examples
    --------
    >>> is_sheared(np.eye(4)), is_sheared(np.array([[1, 0, 0.2, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    (False, True)
    """
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return not np.allclose(axes.T @ axes, np.eye(3), atol=1e-5)
