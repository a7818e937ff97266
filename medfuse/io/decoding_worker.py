"""The process that decodes compressed frames: a codec that crashes, hangs or takes all memory takes only this down.

It is started by `medfuse.io.decoding`, reads requests from its standard input and answers on its standard output
until the input ends. A message is a JSON header and bytes; nothing that a codec wrote is ever unpickled.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["main", "receive", "send"]

LENGTHS = struct.Struct(">IQ")
MAX_HEADER_BYTES = 2**16
EXTRA_MEMORY_BYTES = 2**30
"""What decoding may take on top of the process as it starts."""


class Stream(Protocol):
    """An unbuffered binary stream."""

    def read(self, size: int, /) -> bytes | None:
        """Return up to ``size`` bytes, none at the end."""

    def write(self, data: memoryview, /) -> int | None:
        """Write some of the bytes and return how many."""


def send(stream: Stream, header: Mapping[str, Any], data: bytes | memoryview = b"") -> None:
    """Write one message.

    Parameters
    ----------
    stream : Stream
    header : mapping
        Plain JSON.
    data : bytes

    Raises
    ------
    OSError
        If the other side is gone.
    """
    text = json.dumps(header).encode()
    left = memoryview(LENGTHS.pack(len(text), len(data)) + text)
    for part in (left, memoryview(data)):
        while len(part):
            part = part[stream.write(part) or 0 :]


def receive(stream: Stream) -> tuple[dict[str, Any], bytes] | None:
    """Read one message.

    Parameters
    ----------
    stream : Stream

    Returns
    -------
    (dict, bytes) or None
        None if the other side has ended.

    Raises
    ------
    ValueError
        If what comes is no message.
    """
    lengths = _read(stream, LENGTHS.size)
    if lengths is None:
        return None
    n_text, n_data = LENGTHS.unpack(lengths)
    if n_text > MAX_HEADER_BYTES:
        raise ValueError("no message of a decoding process")
    text, data = _read(stream, n_text), _read(stream, n_data)
    if text is None or data is None:
        return None
    header: dict[str, Any] = json.loads(text)
    return header, data


def _read(stream: Stream, size: int) -> bytes | None:
    whole = bytearray()
    while len(whole) < size:
        chunk = stream.read(size - len(whole))
        if not chunk:
            return None
        whole += chunk
    return bytes(whole)


def main() -> None:
    """Answer requests until the input ends."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent; its end closes the input
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a codec prints must not come between messages
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    ready, _ = _decode({}, b"")  # before memory is limited
    _limit_memory()
    send(replies, ready)
    while (message := receive(requests)) is not None:
        try:
            header, data = _decode(*message)
        except BaseException as error:  # Rust codecs panic with a BaseException
            header, data = {"error": type(error).__name__}, b""
        send(replies, header, data)


def _decode(request: Mapping[str, Any], frame: bytes) -> tuple[dict[str, Any], bytes]:
    """Decode one frame; an empty request only imports what that needs."""
    import numpy as np
    import pydicom.config
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder

    pydicom.config.logger.disabled = True
    if not request:
        return {"ready": True}, b""
    array, _ = get_decoder(request["syntax"]).as_array(
        encapsulate([frame], has_bot=False), index=0, raw=True, decoding_plugin=request["plugin"], **request["options"]
    )
    return {"dtype": array.dtype.str, "shape": array.shape}, np.ascontiguousarray(array).tobytes()


def _limit_memory() -> None:
    """Let the process take no more than EXTRA_MEMORY_BYTES from here on, where the system can limit it."""
    if sys.platform == "win32":
        return
    import resource

    in_use = 0
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            in_use = int(file.read().split()[0]) * resource.getpagesize()
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_AS: in_use + EXTRA_MEMORY_BYTES}
    if not in_use:  # without the size in use an address space cannot be limited without guessing
        limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_DATA: 2 * EXTRA_MEMORY_BYTES}
    for kind, limit in limits.items():
        try:
            resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))
        except (ValueError, OSError):  # the system does not allow it: the time limit still holds
            continue
