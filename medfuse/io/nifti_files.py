"""The files of a NIfTI image: opened, decompressed, and held to what they can contain."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from medfuse.errors import DataError, VolumeError
from medfuse.io.containers import open_bytes
from medfuse.io.nifti_header import HEADER_BYTES, WHERE, NiftiHeader, is_header, parse_header

__all__ = ["Stream", "check_end", "is_nifti", "open_voxels", "read_nifti_header", "voxel_file"]

MAX_GZIP_RATIO = 1032
"""Deflate cannot expand more than this, so that a header that claims more is wrong. Source: RFC 1951."""

MAX_VOXEL_BYTES = 8 * 2**30

BOMB_BYTES, BOMB_RATIO = 2**29, 100
"""Voxels above 512 MiB that take less than a hundredth of it on disk are refused: images are never so compressible."""

SUFFIXES = (".nii", ".nii.gz")
PAIRED = {".hdr": ".img", ".hdr.gz": ".img.gz"}
GZIP_MAGIC = b"\x1f\x8b"
CHUNK = 2**20
Stream = BinaryIO | gzip.GzipFile
READ_ERRORS = (EOFError, OSError, zlib.error, ValueError)


def is_nifti(path: Path) -> bool:
    """Tell whether a file is NIfTI: by its name, and an .hdr (whose voxels lie in the .img beside it) by its start.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool
        False for an .img, which is no volume without its .hdr.

    Examples
    --------
    >>> is_nifti(Path("a.nii.gz")), is_nifti(Path("a.dcm")), is_nifti(Path("absent.hdr"))
    (True, False, False)
    """
    name = path.name.lower()
    if name.endswith(SUFFIXES):
        return True
    if not name.endswith(tuple(PAIRED)):
        return False
    try:
        with _opened(path) as (stream, _):
            return is_header(stream.read(4))
    except (*READ_ERRORS, DataError):
        return False


def read_nifti_header(path: Path) -> NiftiHeader:
    """Read and check the header alone.

    Parameters
    ----------
    path : Path
        .nii, .nii.gz, or the .hdr of a pair; it may lie in a zip or tar.

    Returns
    -------
    NiftiHeader

    Raises
    ------
    VolumeError
        If it cannot be read, or claims voxels beyond any image; see `medfuse.io.nifti_header.parse_header`.
    """
    try:
        with _opened(path) as (stream, _):
            head = stream.read(HEADER_BYTES)
    except READ_ERRORS as error:
        raise VolumeError(WHERE, f"cannot be read ({_said(error)})", expected="a whole NIfTI file") from error
    if not head:
        raise VolumeError(WHERE, "found an empty file", expected="a whole NIfTI file")
    header = parse_header(head)
    if header.memory_bytes > MAX_VOXEL_BYTES:
        found = f"found a wrong dim, or an image too large: its header claims {header.memory_bytes} bytes of voxels"
        raise VolumeError(WHERE, found, expected=f"at most {MAX_VOXEL_BYTES}")
    return header


@contextmanager
def open_voxels(path: Path, header: NiftiHeader) -> Iterator[Stream]:
    """Open the file that holds the voxels, decompressed; whatever breaks while it is open is refused by name.

    Parameters
    ----------
    path : Path
    header : NiftiHeader

    Yields
    ------
    file object of bytes

    Raises
    ------
    VolumeError
        If the file is absent, cannot hold what the header claims (before any of it is read), or breaks off.
    """
    try:
        with _opened(_image_of(path) if header.is_pair else path) as (stream, n_stored):
            _check_size(stream, n_stored, header)
            yield stream
    except FileNotFoundError as error:
        found = "found no .img beside its .hdr" if header.is_pair else "found no such file"
        raise VolumeError(WHERE, found, expected="both files of the pair" if header.is_pair else "a file") from error
    except (*READ_ERRORS, MemoryError) as error:
        found = f"found truncated or broken voxels ({_said(error)})"
        raise VolumeError(WHERE, found, expected="a whole file") from error


def _said(error: Exception) -> str:
    """Name what went wrong while bytes were read: zlib's own error is called plain ``error``."""
    return "corrupt gzip data" if isinstance(error, zlib.error | gzip.BadGzipFile) else type(error).__name__


def check_end(stream: Stream, header: NiftiHeader) -> tuple[str, ...]:
    """Read what follows the voxels, so that a gzip stream that is cut or damaged anywhere is found by its checksum.

    Parameters
    ----------
    stream : file object of bytes
        Behind the last voxel.
    header : NiftiHeader

    Returns
    -------
    tuple of str
        A warning if whole slices follow, so that the header may claim too few.

    Raises
    ------
    VolumeError
        If it goes on far beyond the voxels.
    """
    n_more = 0
    while data := stream.read(CHUNK):
        n_more += len(data)
        if n_more > BOMB_BYTES:
            raise VolumeError(WHERE, "found a file far longer than its voxels: too large", expected="one image")
    is_more = n_more >= header.volume_bytes // header.shape[2]
    return ("whole slices follow the last one: the header may claim too few (a wrong dim)",) if is_more else ()


def _check_size(stream: Stream, n_stored: int, header: NiftiHeader) -> None:
    claimed = header.volume_bytes * header.n_volumes
    ratio = MAX_GZIP_RATIO if isinstance(stream, gzip.GzipFile) else 1
    if claimed > n_stored * ratio or (header.memory_bytes > BOMB_BYTES and claimed > n_stored * BOMB_RATIO):
        found = f"found a file of {n_stored} bytes, truncated or too large: its header claims {claimed}"
        raise VolumeError(WHERE, found, expected="a file that can hold them, compressed at most a hundredfold")


def voxel_file(path: Path) -> list[Path]:
    """Return the .img that belongs to a file, if it is an .hdr and has one.

    Examples
    --------
    >>> voxel_file(Path("a.nii.gz"))
    []
    """
    other = _image_of(path) if path.name.lower().endswith(tuple(PAIRED)) else None
    return [other] if other is not None and other.is_file() else []


def _image_of(path: Path) -> Path:
    """Return the .img of an .hdr, in the letter case that is there."""
    for suffix, other in PAIRED.items():
        if path.name.lower().endswith(suffix):
            stem = path.name[: -len(suffix)]
            candidates = [path.with_name(stem + end) for end in (other, other.upper(), ".img", ".IMG", ".img.gz")]
            return next((candidate for candidate in candidates if candidate.is_file()), candidates[0])
    raise VolumeError(WHERE, "found the header of a pair in another file than an .hdr", expected=".hdr and .img")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Stream, int]]:
    """Open a file, decompressed if it is gzip whatever its name; with its bytes on disk."""
    with ExitStack() as stack:
        file: Any = stack.enter_context(io.BufferedReader(cast(io.RawIOBase, open_bytes(path)), CHUNK))
        n_stored = file.seek(0, os.SEEK_END)
        if n_stored > BOMB_BYTES:
            with suppress(OSError):  # a sparse file claims bytes that are on no disk; a member of a zip has none
                n_stored = min(n_stored, os.fstat(file.fileno()).st_blocks * 512)
        file.seek(0)
        start = file.peek(2)[:2]
        if start == GZIP_MAGIC:
            file = stack.enter_context(gzip.GzipFile(fileobj=file, mode="rb"))
        yield file, n_stored
