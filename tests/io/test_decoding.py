"""Every codec against images of known values; every way in which a codec can fail, and that the next frame works."""

from __future__ import annotations

import base64
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medfuse.errors import PixelError
from medfuse.io import decoding
from medfuse.io.decoding import decode_frame, stop_decoding
from medfuse.io.transfer_syntaxes import COMPRESSED

ROW, COLUMN = np.indices((8, 12))
RISING = np.clip(ROW * 9 + COLUMN * 11, 0, 255)
RISING_12 = np.clip(ROW * 150 + COLUMN * 200, 0, 4095)
MIXED = (ROW * 37 + COLUMN * 211 + (ROW * COLUMN) % 7) % 4096

# Encoded by libjpeg-turbo, liblj92 and OpenJPH (imagecodecs 2026.3.6), none of which decodes here.
CODES = {
    "BASELINE": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQIBAQEBAQIBAQECAgICAgICAgIDAwQDAwMDAwICAwQDAwQEBAQE"
        "AgMFBQQEBQQEBAT/wAALCAAIAAwBAREA/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9"
        "AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZn"
        "aGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP0"
        "9fb3+Pn6/9oACAEBAAA/APwv/Y2/Zb/5BX/Eu/uf8svpX9KXwv8A2W/+KO03/iXev/LL/ZWv/9k="
    ),
    "EXTENDED": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQIBAQEBAQIBAQECAgICAgICAgIDAwQDAwMDAwICAwQDAwQEBAQE"
        "AgMFBQQEBQQEBAT/wQALDAAIAAwBAREA/8QAFQABAQAAAAAAAAAAAAAAAAAADQ7/xAAhEAAABAUFAAAAAAAAAAAAAAAADClHBgkLKmM5"
        "VFZmdP/aAAgBAQAAPwAZHI4RVS0gk4eDNV4cAqjCkllVKyDlgpw75quvwpgH/9k="
    ),
    "LOSSLESS": (
        "/9j/xAAYAAEBAQEBAAAAAAAAAAAAAAAFBAgGDP/DAAsMAAgADAEAEQD/2gAIAQAABgAA8/8A7T2ntPae09p7T2ntPae0+lUUVVWWQUUV"
        "V6VRRW5JNNRRW7pVFLmb001FLmelUtYuZvTUtYu6VRS5m9NNRS5npVFFbkk01FFbultRRSSTTtRRSP/Z"
    ),
    "LOSSLESS_SIGNED": (
        "/9j/xAAZAAEBAQEBAQAAAAAAAAAAAAAFBAgGCgz/wwALDAAIAAwBABEA/9oACAEAAAYAAPRJtPae09p7T2ntP4NLae09p9Kooqqst8Af"
        "9Aooqr0qiitySaaiit3SqKXM3ppqKXM9Kpaxczempaxd0qilzN6aailzPSqKK3JJpqKK3dLaiikl8Al9AnaiikD/2Q=="
    ),
    "HTJ2K": (
        "/0//UQApQAAAAAAMAAAACAAAAAAAAAAAAAAADAAAAAgAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQ"
        "kJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAKAAAf+TwAAmefgFB3QAAMAAEwAc/gMHdADAABLAABPA"
        "ABIA8QCHdABWqf4AYjQA/gBjAMAAFRAABWQAAThAtm1BBH6VAAKUgIhA+gAAA362ACBLQDF7NQDAAC0oAAWpAACv1QKooBCxDpCa/knE"
        "yxibfegAESNGgCcISMAPgEIBCEAWvpuPWgCb5qhZOYvwASau9PukWAD/2Q=="
    ),
    "HTJ2K_SIGNED": (
        "/0//UQApQAAAAAAMAAAACAAAAAAAAAAAAAAADAAAAAgAAAAAAAAAAAABjwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQ"
        "kJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAKAAAf+TwAAmMfwCh3QAAMAAEwAc/gMHdADAABLAABPA"
        "ABIA8QCHdABWqf4AYjQA/gBjAMAAFRAABWQAAThAtm1BBH6VAAKUgIhA+gAAA362ACBLQDF7NQDAAC0oAAWpAACv1QKooBCxDpCa/knE"
        "yxibfegAESNGgCcISMAPgEIBCEAWvpuPWgCb5qhZOYvwASau9PukWAD/2Q=="
    ),
}
CASES = [
    ("BASELINE", "4.50", 8, 8, False, RISING, 0),
    ("EXTENDED", "4.51", 16, 12, False, RISING_12, 1),
    ("LOSSLESS", "4.57", 16, 12, False, MIXED, 0),
    ("LOSSLESS", "4.70", 16, 12, False, MIXED, 0),
    ("LOSSLESS_SIGNED", "4.70", 16, 12, True, MIXED - 1500, 0),
    ("HTJ2K", "4.201", 16, 16, False, MIXED, 0),
    ("HTJ2K", "4.202", 16, 16, False, MIXED, 0),
    ("HTJ2K", "4.203", 16, 16, False, MIXED, 0),
    ("HTJ2K_SIGNED", "4.201", 16, 16, True, MIXED - 1500, 0),
]
RLE = "1.2.840.10008.1.2.5"


@pytest.fixture(scope="module", autouse=True)
def _end() -> Iterator[None]:
    yield
    stop_decoding()


def decode(
    code: bytes, syntax: str, *, bits: int = 16, used: int = 12, signed: bool = False, rows: int = 8
) -> NDArray[np.generic]:
    options = {
        "rows": rows, "columns": 12, "bits_allocated": bits, "bits_stored": used, "pixel_representation": int(signed),
    }  # fmt: skip
    return decode_frame(code, syntax=syntax, options=options, where="slice 1")


def good() -> bool:
    values = decode(base64.b64decode(CODES["LOSSLESS"]), "1.2.840.10008.1.2.4.70")
    return np.array_equal(values, MIXED)


@pytest.mark.parametrize(("name", "syntax", "bits", "used", "signed", "expected", "loss"), CASES)
def test_codecs_give_the_values_that_were_encoded(name, syntax, bits, used, signed, expected, loss) -> None:
    code = base64.b64decode(CODES[name])
    values = decode(code, f"1.2.840.10008.1.2.{syntax}", bits=bits, used=used, signed=signed)
    assert values.dtype == np.dtype(f"{'i' if signed else 'u'}{bits // 8}")
    assert np.abs(values.astype(int) - expected).max() <= loss


@pytest.mark.parametrize("syntax", sorted(COMPRESSED))
@pytest.mark.parametrize("code", [b"", b"\0" * 64, bytes(range(256)), b"\xff\xd8\xff\xd9", b"\xff\x4f\xff\x51"])
def test_garbage_is_refused_and_the_next_frame_works(syntax: str, code: bytes) -> None:
    with pytest.raises(PixelError, match=r"cannot be decoded|another size|decoding ended"):
        decode(code, syntax)
    assert good()


def test_rust_panic_is_a_refusal() -> None:
    """A run that is longer than its segment makes pylibjpeg-rle panic, which no `except Exception` sees."""
    header = np.array([2, 64, 66, *[0] * 13], dtype="<u4").tobytes()
    with pytest.raises(PixelError, match="PanicException"):
        decode(header + b"\x81\x01\x81\x01", RLE)
    assert good()


def test_image_of_another_size_than_the_header_is_refused() -> None:
    with pytest.raises(PixelError, match=r"another size|cannot be decoded"):
        decode(base64.b64decode(CODES["LOSSLESS"]), "1.2.840.10008.1.2.4.70", rows=4)


@pytest.mark.parametrize("rows", [10**6, 10**8])
def test_claim_of_a_huge_image_is_refused_before_anything_starts(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_Worker", None)
    with pytest.raises(PixelError, match="too large"):
        decode(b"\0" * 64, RLE, rows=rows)


@pytest.fixture
def bad_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Code that runs in the decoding process in place of a codec, from its second frame on."""
    stop_decoding()
    path = tmp_path / "bad_worker.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(decoding, "WORKER", "bad_worker")
    yield path
    stop_decoding()


START = """
import os, sys, time
from medfuse.io import decoding_worker
whole, seen = decoding_worker._decode, []
def _decode(request, frame):
    if request and len(frame) == 3:
        {act}
    return whole(request, frame)
decoding_worker._decode = _decode
main = decoding_worker.main
"""


@pytest.mark.parametrize(
    ("act", "message"),
    [
        ("os.abort()", "decoding ended"),
        ("os._exit(0)", "decoding ended"),
        ("time.sleep(60)", "decoding took over"),
        ("a = bytearray(4 * 2**30)", "cannot be decoded .MemoryError|decoding ended"),
        ("raise KeyboardInterrupt", "cannot be decoded .KeyboardInterrupt"),
        ("os.write(1, b'noise' * 1000)", "cannot be decoded"),
    ],
)  # fmt: skip
def test_death_hang_and_noise_are_refused_and_the_next_frame_works(
    bad_worker: Path, monkeypatch: pytest.MonkeyPatch, act: str, message: str
) -> None:
    bad_worker.write_text(START.format(act=act))
    monkeypatch.setattr(decoding, "FRAME_SECONDS", 1.0)
    assert good()
    with pytest.raises(PixelError, match=message):
        decode(b"\1\2\3", RLE)
    assert good()


def test_process_is_reused_and_leaves_no_zombie() -> None:
    assert good()
    worker = decoding._State.worker
    assert good() and worker is not None and decoding._State.worker is worker
    pid = worker.process.pid
    stop_decoding()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_process_that_was_killed_from_outside_is_replaced() -> None:
    assert good()
    assert decoding._State.worker is not None
    decoding._State.worker.process.kill()
    decoding._State.worker.process.wait()
    assert good()


def test_process_that_cannot_start_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    stop_decoding()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(PixelError, match="cannot be started"):
        decode(b"\0" * 64, RLE)
    monkeypatch.undo()
    assert good()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_daemonic_and_forked_processes_decode_for_themselves(method: str, tmp_path: Path) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    (tmp_path / "pool.py").write_text(
        "import base64, multiprocessing\n"
        "from medfuse.io.decoding import decode_frame\n"
        f"CODE = base64.b64decode({CODES['LOSSLESS']!r})\n"
        "OPTIONS = dict(rows=8, columns=12, bits_allocated=16, bits_stored=12, pixel_representation=0)\n"
        "def total(_=0):\n"
        "    return int(decode_frame(CODE, syntax='1.2.840.10008.1.2.4.70', options=OPTIONS, where='x').sum())\n"
        "if __name__ == '__main__':\n"
        "    before = total()\n"
        f"    with multiprocessing.get_context('{method}').Pool(2) as pool:\n"
        "        print(before, *pool.map(total, range(4)), total())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", str(tmp_path / "pool.py")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == [str(MIXED.sum())] * 6 and done.stderr == ""


def test_import_starts_nothing() -> None:
    script = "import medfuse.io.decoding as d, sys; print(d._State.worker, 'pydicom' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "False"]


def test_jpeg_without_its_decoder_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "find_spec", lambda name: None)
    options = {"rows": 4, "columns": 4, "bits_allocated": 8, "bits_stored": 8, "pixel_representation": 0}
    with pytest.raises(PixelError, match=r"pip install 'medfuse\[codecs\]'"):
        decode_frame(b"\xff\xd8", syntax="1.2.840.10008.1.2.4.70", options=options, where="slice 1")
