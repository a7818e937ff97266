"""Files that hold one image twice: dropped if they are the same to the last pixel, refused if not."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Sequence

from medfuse.errors import GeometryError, VolumeError
from medfuse.io.dicom_headers import UNDEFINED_LENGTH, SliceHeader
from medfuse.io.inflating import open_dicom

__all__ = ["drop_copies", "pixel_digest"]

OF_A_COPY = frozenset({"SOPInstanceUID", "InstanceNumber", "ContentTime", "AcquisitionTime"})
"""What may differ where an image was sent twice under two names."""

CHUNK_BYTES = 2**20


def drop_copies(
    slices: Sequence[SliceHeader], *, where: str, renamed: bool = False
) -> tuple[list[SliceHeader], tuple[str, ...]]:
    """Keep one of each image.

    Parameters
    ----------
    slices : sequence of SliceHeader
    where : str
        For error messages.
    renamed : bool
        Whether copies may carry another SOPInstanceUID and InstanceNumber. Then unequal pixels are no error: the
        images may be time points.

    Returns
    -------
    kept : list of SliceHeader
        In their order.
    warnings : tuple of str

    Raises
    ------
    GeometryError
        If two images have one header but different pixels.
    """
    if not renamed and len({item.text("SOPInstanceUID") for item in slices}) == len(slices):
        return list(slices), ()
    ignored = OF_A_COPY if renamed else frozenset()
    alike: dict[Hashable, list[SliceHeader]] = defaultdict(list)
    for item in slices:
        key = frozenset((k, v) for k, v in item.values.items() if k not in ignored)
        alike[(key, item.frame, item.tile)].append(item)
    if len(alike) == len(slices):
        return list(slices), ()
    dropped = set[int]()
    for items in alike.values():
        seen = set[bytes]()
        for item in items if len(items) > 1 else ():
            digest = pixel_digest(item, where=where)
            if seen and digest not in seen and not renamed:
                found = "found duplicate images, with one header and one position, whose pixels differ"
                raise GeometryError(where, found, expected="each slice once")
            if digest in seen:
                dropped.add(id(item))
            seen.add(digest)
    notes = (f"{len(dropped)} exact duplicate images are dropped",) if dropped else ()
    return [item for item in slices if id(item) not in dropped], notes


def pixel_digest(item: SliceHeader, *, where: str) -> bytes:
    """Return a digest of the stored bytes of an image's pixels.

    Parameters
    ----------
    item : SliceHeader
    where : str
        For error messages.

    Returns
    -------
    bytes

    Raises
    ------
    VolumeError
        If the file cannot be read.
    """
    digest, left = hashlib.blake2b(), item.pixel_length
    try:
        with open_dicom(item.path) as file:
            file.seek(item.pixel_offset)
            while left > 0 and (chunk := file.read(min(left, CHUNK_BYTES))):
                digest.update(chunk)
                left -= len(chunk) if item.pixel_length != UNDEFINED_LENGTH else 0
    except OSError as error:
        raise VolumeError(where, f"cannot be read ({type(error).__name__})", expected="a readable file") from error
    return digest.digest()
