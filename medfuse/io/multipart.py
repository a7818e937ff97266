"""The parts of a multipart answer as its bytes come in, so that none of them needs to fit into memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from medfuse.errors import RetrievalError

__all__ = ["boundary_of", "part_pieces"]

MAX_HEAD_BYTES = 65536
WHERE = "DICOMweb answer"


def boundary_of(content_type: str) -> bytes:
    """Return what stands between the parts of an answer.

    Parameters
    ----------
    content_type : str
        As its header says.

    Raises
    ------
    RetrievalError
        If it is no ``multipart/related``.

    Notes
    -----
    Source: RFC 2046, 5.1.1.

    Examples
    --------
    >>> boundary_of('multipart/related; type="application/dicom"; boundary=a-1')
    b'a-1'
    """
    found = re.search(r';\s*boundary=(?:"([^"]{1,200})"|([^\s";]{1,200}))', content_type, re.IGNORECASE)
    if not content_type.lower().startswith("multipart/related") or found is None:
        raise RetrievalError(WHERE, "found no multipart/related with a boundary", expected="DICOM parts (WADO-RS)")
    return (found[1] or found[2]).encode("latin-1", "replace")


def part_pieces(chunks: Iterable[bytes], boundary: bytes) -> Iterator[bytes | None]:
    r"""Take a multipart body apart.

    Parameters
    ----------
    chunks : iterable of bytes
        The body, cut anywhere.
    boundary : bytes

    Yields
    ------
    bytes or None
        Content of a part, piece by piece; None after the last piece of each part.

    Raises
    ------
    RetrievalError
        If the body ends before its closing boundary: whatever broke off must not pass for a whole.

    Notes
    -----
    Source: RFC 2046, 5.1.1.

    Examples
    --------
    >>> list(part_pieces([b"--x\r\nContent-Type: a/b\r\n\r\nDI", b"CM\r\n--x--"], b"x"))
    [b'DICM', None]
    """
    delimiter = b"\r\n--" + boundary
    data = bytearray(b"\r\n")  # the first boundary may stand at the very beginning
    at_head = inside = False
    for chunk in chunks:
        data += chunk
        while True:
            if at_head:
                if data.startswith(b"--"):
                    return
                if (end := data.find(b"\r\n\r\n")) < 0:
                    if len(data) > MAX_HEAD_BYTES:
                        raise RetrievalError(WHERE, "found a part without an end of its header", expected="RFC 2046")
                    break
                del data[: end + 4]
                at_head, inside = False, True
            if (place := data.find(delimiter)) < 0:
                kept = len(delimiter) - 1  # of a boundary that is cut in two
                if inside and len(data) > kept:
                    yield bytes(data[:-kept])
                del data[:-kept]
                break
            if inside:
                if place:
                    yield bytes(data[:place])
                yield None
            del data[: place + len(delimiter)]
            at_head, inside = True, False
    raise RetrievalError(WHERE, "it ends before its closing boundary", expected="a whole answer")
