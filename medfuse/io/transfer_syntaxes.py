"""How DICOM pixels may be written, and which codec reads them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

__all__ = [
    "COMPRESSED",
    "DEFLATED",
    "EXPLICIT_BIG",
    "EXPLICIT_LITTLE",
    "IMPLICIT_LITTLE",
    "JPEG",
    "LOSSY",
    "READABLE",
    "UNCOMPRESSED",
    "undecodable",
]

IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
UNCOMPRESSED = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED})
"""Pixels as they are; a deflated file is inflated as it is opened. Source: DICOM PS3.5 section 10."""

COMPRESSED: Mapping[str, str] = {
    "1.2.840.10008.1.2.5": "pylibjpeg",  # RLE
    "1.2.840.10008.1.2.4.50": "pylibjpeg",  # JPEG baseline
    "1.2.840.10008.1.2.4.51": "pylibjpeg",  # JPEG extended, 12 bits
    "1.2.840.10008.1.2.4.57": "pylibjpeg",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "pylibjpeg",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": "pyjpegls",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81": "pyjpegls",  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91": "pylibjpeg",  # JPEG 2000
    "1.2.840.10008.1.2.4.201": "pylibjpeg",  # HTJ2K lossless
    "1.2.840.10008.1.2.4.202": "pylibjpeg",  # HTJ2K lossless, RPCL
    "1.2.840.10008.1.2.4.203": "pylibjpeg",  # HTJ2K
}
"""Which of pydicom's decoding plugins reads a compressed transfer syntax; named, so that what else a machine has
changes nothing."""

JPEG = frozenset({f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70)})
"""Read by pylibjpeg-libjpeg, which comes with the extra ``codecs``."""

LOSSY = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81"})
"""Always lossy. JPEG 2000 and HTJ2K may be either."""

READABLE = UNCOMPRESSED | COMPRESSED.keys()

_DECODERS = {"JPEG": "libjpeg", "JPEG 2000 and HTJ2K": "openjpeg", "RLE": "rle", "JPEG-LS": "jpeg_ls"}
"""The module that reads each kind."""


def undecodable() -> list[str]:
    """Return the kinds of compression that nothing installed here decodes.

    Examples
    --------
    >>> "RLE" in undecodable()
    False
    """
    return [kind for kind, module in _DECODERS.items() if find_spec(module) is None]
