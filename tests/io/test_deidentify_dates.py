from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.valuerep import DT

from medfuse.io.deidentify_dates import is_time, shift_date, shift_datetime
from medfuse.io.deidentify_identity import day_shift
from medfuse.io.pseudonyms import Pseudonymizer

DAYS = st.dates(date(1880, 1, 1), date(2100, 1, 1))
SHIFTS = st.integers(-3650, -1)
NAMES = Pseudonymizer(bytes(32))


def as_da(day: date) -> str:
    return day.strftime("%Y%m%d")


@given(DAYS, DAYS, SHIFTS)
def test_intervals_between_dates_stay(first: date, second: date, days: int) -> None:
    moved = [datetime.strptime(shift_date(as_da(day), days), "%Y%m%d").date() for day in (first, second)]
    assert moved[1] - moved[0] == second - first
    assert moved[0] == first + timedelta(days=days)


@given(st.datetimes(datetime(1880, 1, 1), datetime(2100, 1, 1)), SHIFTS, st.sampled_from(["", "+0100", "-1130"]))
def test_a_date_and_time_moves_as_its_date_and_keeps_its_time(moment: datetime, days: int, zone: str) -> None:
    text = moment.strftime("%Y%m%d%H%M%S.%f") + zone
    moved = shift_datetime(text, days)
    assert moved[:8] == shift_date(text[:8], days)
    assert moved[8:] == text[8:]
    assert isinstance(DT(moved), datetime)


@given(DAYS, SHIFTS)
def test_less_exact_dates_stay_as_exact(day: date, days: int) -> None:
    assert len(shift_datetime(as_da(day)[:6], days)) == 6
    assert len(shift_datetime(as_da(day)[:4], days)) == 4


@given(st.text(max_size=20), SHIFTS)
def test_what_is_no_date_goes(text: str, days: int) -> None:
    for moved in (shift_date(text, days), shift_datetime(text, days)):
        assert moved == "" or any(letter.isdigit() for letter in text)
        assert moved == "" or moved != text


@pytest.mark.parametrize(
    "text", ["19510230", "1951-02-03", "19510203-19520101", "Feb 1951", "00010101", "２０２４０１０１"]
)
def test_dates_that_cannot_be_moved_go(text: str) -> None:
    assert shift_date(text, -10) == ""


@pytest.mark.parametrize(
    ("text", "is_one"), [("", False), ("12", True), ("235960", True), ("1260", False), ("12.5", False)]
)
def test_times(text: str, is_one: bool) -> None:
    assert is_time(text) is is_one


@given(st.text(min_size=1, max_size=16), st.binary(min_size=32, max_size=32))
def test_a_shift_is_never_zero_and_the_patients_own(patient: str, key: bytes) -> None:
    assert -3650 <= day_shift(NAMES, patient) <= -1
    assert day_shift(NAMES, patient) == day_shift(Pseudonymizer(bytes(32)), patient)
    assert -3650 <= day_shift(Pseudonymizer(key), patient) <= -1


def test_shifts_of_patients_and_keys_differ() -> None:
    shifts = {day_shift(NAMES, f"patient {number}") for number in range(1000)}
    assert len(shifts) > 850
    assert day_shift(NAMES, "a") != day_shift(Pseudonymizer(b"\1" * 32), "a")
