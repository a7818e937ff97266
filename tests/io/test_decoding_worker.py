from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.io.decoding_worker import receive, send


class Trickle(BytesIO):
    """A pipe that takes and gives a few bytes at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(3, size or 0))

    def write(self, data, /) -> int:
        return super().write(data[:5])


@given(st.dictionaries(st.text(), st.integers() | st.text()), st.binary(max_size=99))
def test_messages_arrive_as_they_were_sent(header, data: bytes) -> None:
    pipe = Trickle()
    send(pipe, header, data)
    send(pipe, {}, b"next")
    pipe.seek(0)
    assert [receive(pipe), receive(pipe), receive(pipe)] == [(header, data), ({}, b"next"), None]


def test_a_message_that_is_cut_is_the_end() -> None:
    pipe = BytesIO()
    send(pipe, {"a": 1}, b"1234")
    whole = pipe.getvalue()
    assert all(receive(BytesIO(whole[:n])) is None for n in range(len(whole)))


def test_noise_is_no_message() -> None:
    with pytest.raises(ValueError, match="no message"):
        receive(BytesIO(b"\xff" * 99))
