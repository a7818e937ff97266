from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from medfuse.io.dicom_headers import SliceHeader
from medfuse.io.dicom_partition import labels, parts, places, ranks


def header(**values: object) -> SliceHeader:
    return SliceHeader(Path("x"), "", {key: str(value) for key, value in values.items()})


def of(keyword: str, *values: object) -> list[SliceHeader]:
    return [header(**{keyword: value}) for value in values]


def test_numbers_are_ordered_as_numbers_and_text_comes_last() -> None:
    assert labels(of("EchoTime", 10, 9.5, "x", "9.50", 100), "EchoTime") == [1, 0, 3, 0, 2]
    assert labels([*of("EchoTime", 3), header()], "EchoTime") == [0, 1]


def test_noise_is_no_difference_but_a_tenth_is() -> None:
    assert labels(of("PixelSpacing", "0.5\\0.5", "0.50001\\0.49999", "0.6\\0.5"), "PixelSpacing") == [0, 0, 1]
    turned = of("ImageOrientationPatient", "1\\0\\0\\0\\1\\0", "0.9999999\\1e-5\\0\\-1e-5\\1\\0", "0\\1\\0\\0\\0\\-1")
    assert labels(turned, "ImageOrientationPatient") == [1, 1, 0]


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=30))
def test_labels_are_the_ranks_of_the_values(values: list[int]) -> None:
    found = labels(of("InstanceNumber", *values), "InstanceNumber")
    assert found == [sorted(set(values)).index(value) for value in values]
    assert [len(part) for part in parts(of("InstanceNumber", *values), found)] == [
        n for _, n in sorted(Counter(values).items())
    ]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=30))
def test_ranks_count_at_each_place_or_decline(pairs: list[tuple[int, int]]) -> None:
    found = ranks(of("InstanceNumber", *(n for _, n in pairs)), "InstanceNumber", np.array([at for at, _ in pairs]))
    if len(set(pairs)) < len(pairs):
        assert found is None
    else:
        assert found == [sum(other < pair and other[0] == pair[0] for other in pairs) for pair in pairs]


def test_absent_values_have_no_rank() -> None:
    assert ranks([header(InstanceNumber=1), header()], "InstanceNumber", np.array([0, 0])) is None


def test_positions_within_rounding_are_one_place() -> None:
    slices = [
        header(ImagePositionPatient=f"0\\0\\{z}", ImageOrientationPatient="1\\0\\0\\0\\1\\0")
        for z in (5, 0, 5.004, 2.5, 0)
    ]
    assert places(slices, where="series").tolist() == [2, 0, 2, 1, 0]
