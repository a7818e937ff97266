"""Decoding compressed frames in another process, kept alive, with a limit of time and memory."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medfuse.errors import PixelError
from medfuse.io.decoding_worker import receive, send
from medfuse.io.transfer_syntaxes import COMPRESSED, JPEG

__all__ = ["MAX_FRAME_BYTES", "decode_frame", "stop_decoding"]

MAX_FRAME_BYTES = 128 * 2**20
"""Of one decoded frame: 8192 x 8192 of 16 bits."""

SMALL_BYTES = 8 * 2**20
MAX_RATIO = 1000
"""Above SMALL_BYTES a frame that is this much larger than its code is no image."""

WORKER = "medfuse.io.decoding_worker"
START_SECONDS = 60.0
FRAME_SECONDS, SECONDS_A_MIB = 5.0, 0.1


class _Worker:
    """One decoding process. It ends when its input is closed, so it never outlives this one."""

    def __init__(self, where: str) -> None:
        # Not multiprocessing: it cannot start from a daemonic process, and runs the user's main module again.
        code = f"import sys; sys.path[:] = {sys.path!r}; from {WORKER} import main; main()"
        try:
            self.process = subprocess.Popen(  # noqa: S603 - this interpreter, with code from this file
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except (OSError, ValueError) as error:
            found = f"the process that decodes compressed pixels cannot be started ({type(error).__name__})"
            raise PixelError(where, found, expected="a system that allows a second process") from error
        self.ask({}, b"", seconds=START_SECONDS, where=where)

    def ask(
        self, request: Mapping[str, Any], data: bytes, *, seconds: float, where: str
    ) -> tuple[dict[str, Any], bytes]:
        """Send a request and wait for its answer; the first answer, that it is ready, has none."""
        timer = threading.Timer(seconds, self.process.kill)
        timer.daemon = True
        timer.start()
        try:
            if request:
                send(self.process.stdin, request, data)  # type: ignore[arg-type]
            answer = receive(self.process.stdout)  # type: ignore[arg-type]
        except (OSError, ValueError):
            answer = None
        finally:
            late = not timer.is_alive()
            timer.cancel()
        if answer is None:
            self.stop()
            kind = f"took over {seconds:.0f} s" if late else "ended (a crash, or no memory left)"
            raise PixelError(where, f"found compressed pixels on which decoding {kind}", expected="a whole image")
        return answer

    def stop(self) -> None:
        """End the process and wait for it, so that no zombie is left."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        try:
            self.process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def disown(self) -> None:
        """Forget the process after a fork: it is the parent's."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.process.returncode = 0


class _State:
    worker: _Worker | None = None
    lock = threading.Lock()
    is_watched = False


def decode_frame(frame: bytes, *, syntax: str, options: Mapping[str, Any], where: str) -> NDArray[np.integer]:
    """Decode one compressed grey frame.

    Parameters
    ----------
    frame : bytes
        Its code, without encapsulation.
    syntax : str
        Transfer syntax UID, one of `medfuse.io.transfer_syntaxes.COMPRESSED`.
    options : mapping
        pydicom's decoding options: ``rows, columns, bits_allocated, bits_stored, pixel_representation``.
    where : str
        For error messages.

    Returns
    -------
    ndarray of int, shape (rows, columns)
        Stored values, read-only.

    Raises
    ------
    PixelError
        If the code is damaged, of another size, too large, its decoder is not installed, crashes or takes too long.
    """
    if syntax in JPEG and find_spec("libjpeg") is None:
        found = "found JPEG pixels, and no decoder for them is installed"
        raise PixelError(where, found, expected="pip install 'medfuse[codecs]'")
    rows, columns, allocated = (int(options[key]) for key in ("rows", "columns", "bits_allocated"))
    size = rows * columns * allocated // 8
    if size > MAX_FRAME_BYTES or (size > SMALL_BYTES and size > MAX_RATIO * len(frame)):
        found = f"found {len(frame)} compressed bytes that claim {rows} Rows and {columns} Columns: too large to decode"
        raise PixelError(where, found, expected="an image")
    request = {
        "syntax": syntax,
        "plugin": COMPRESSED[syntax],
        "options": {
            **options,
            "samples_per_pixel": 1,
            "photometric_interpretation": "MONOCHROME2",
            "number_of_frames": 1,
            "pixel_keyword": "PixelData",
        },
    }
    with _State.lock:
        if _State.worker is None or _State.worker.process.poll() is not None:
            stop_decoding()
            _watch_the_end()
            _State.worker = _Worker(where)
        answer, data = _State.worker.ask(
            request, frame, seconds=FRAME_SECONDS + SECONDS_A_MIB * size / 2**20, where=where
        )
    signed = "i" if options["pixel_representation"] else "u"
    kind = f"{signed}{allocated // 8}"
    if "error" in answer:
        found = f"found compressed pixels that cannot be decoded ({answer['error'][:64]})"
        raise PixelError(where, found, expected=f"a whole image in its transfer syntax {syntax}")
    if answer.get("shape") != [rows, columns] or len(data) != size or answer.get("dtype", "")[1:] != kind:
        raise PixelError(where, "found compressed pixels of another size than its header says", expected="one size")
    return np.frombuffer(data, dtype=answer["dtype"]).reshape(rows, columns)


def stop_decoding() -> None:
    """End the decoding process, if there is one; the next frame starts another."""
    if _State.worker is not None:
        _State.worker.stop()
        _State.worker = None


def _watch_the_end() -> None:
    """Have the decoding process ended with this one, and left alone by forks of it."""
    if not _State.is_watched:
        atexit.register(stop_decoding)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_after_fork)
        _State.is_watched = True


def _after_fork() -> None:
    _State.lock = threading.Lock()
    if _State.worker is not None:
        _State.worker.disown()
        _State.worker = None
