"""Multipart answers, whole and broken off, cut anywhere."""

from email.generator import BytesGenerator
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from io import BytesIO
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.errors import RetrievalError
from medfuse.io.multipart import boundary_of, part_pieces


def join(parts: list[bytes], boundary: bytes, *, preamble: bytes = b"") -> bytes:
    head = b"Content-Type: application/dicom\r\n"
    return preamble + b"".join(
        b"\r\n--" + boundary + b"\r\n" + head + b"\r\n" + part for part in parts
    ) + b"\r\n--" + boundary + b"--\r\n"  # fmt: skip


def whole(chunks: list[bytes], boundary: bytes) -> list[bytes]:
    parts, now = [], b""
    for piece in part_pieces(chunks, boundary):
        if piece is None:
            parts.append(now)
            now = b""
        else:
            now += piece
    assert now == b""
    return parts


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[a:b] for a, b in pairwise(edges)]


contents = st.lists(st.binary(max_size=60).filter(lambda part: b"--bo" not in part), max_size=4)


@given(contents, st.lists(st.integers(0, 10_000), max_size=6), st.sampled_from([b"", b"for old readers\r\n"]))
def test_parts_are_the_same_however_the_body_is_cut(parts: list[bytes], places: list[int], preamble: bytes) -> None:
    assert whole(cut(join(parts, b"bo", preamble=preamble), places), b"bo") == parts


@given(contents.filter(bool), st.integers(0, 10_000))
def test_a_body_that_broke_off_is_refused_wherever_it_did(parts: list[bytes], place: int) -> None:
    body = join(parts, b"bo").removesuffix(b"--\r\n")
    with pytest.raises(RetrievalError, match="ends before its closing boundary"):
        whole([body[: place % (len(body) + 1)]], b"bo")


def test_what_the_standard_library_writes_is_read() -> None:
    message = MIMEMultipart("related", boundary="x-1")
    contents = [b"DICM" * 100, bytes(range(256))]
    for content in contents:
        message.attach(MIMEApplication(content, "dicom", _encoder=lambda part: None))
    written = BytesIO()
    BytesGenerator(written, mangle_from_=False, policy=message.policy.clone(linesep="\r\n")).flatten(message)
    body = written.getvalue()
    body = body[body.index(b"--x-1") :]
    assert len(whole([body], boundary_of(message["Content-Type"]))) == 2


def test_the_last_part_is_given_before_the_body_has_ended() -> None:
    body = join([b"a" * 5000, b"b"], b"bo")
    pieces = part_pieces(cut(body, list(range(0, len(body), 7))), b"bo")
    assert len(next(pieces) or b"") < 10


@pytest.mark.parametrize(
    "text",
    ['multipart/related; boundary="a b"', "Multipart/Related; type=x; BOUNDARY=a", "multipart/related;boundary=a"],
)
def test_a_boundary_is_found_as_servers_write_it(text: str) -> None:
    assert boundary_of(text) in (b"a b", b"a")


@pytest.mark.parametrize("text", ["", "text/html", "multipart/related", "application/dicom; boundary=a"])
def test_another_answer_is_refused(text: str) -> None:
    with pytest.raises(RetrievalError, match="found no multipart/related"):
        boundary_of(text)


def test_a_head_without_an_end_is_refused() -> None:
    with pytest.raises(RetrievalError, match="without an end of its header"):
        whole([b"--bo\r\n", b"x" * 70_000], b"bo")
