from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.errors import DataError, UsageError
from medfuse.splits import check_no_patient_leaks, fold_of, inner_validation

PATIENTS = st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=60).filter(lambda p: len(set(p)) > 1)


@given(PATIENTS, st.integers(0, 5), st.floats(0.05, 0.95))
def test_no_patient_is_on_both_sides_of_the_inner_split(patients: list[str], seed: int, fraction: float) -> None:
    held = inner_validation(patients, fraction=fraction, seed=seed)
    inside = {p for p, out in zip(patients, held, strict=True) if out}
    outside = {p for p, out in zip(patients, held, strict=True) if not out}
    assert inside and outside and not inside & outside


@given(PATIENTS, st.integers(0, 5))
def test_inner_split_does_not_depend_on_the_order_of_cases(patients: list[str], seed: int) -> None:
    forward = dict(zip(patients, inner_validation(patients, seed=seed), strict=True))
    backward = dict(zip(patients[::-1], inner_validation(patients[::-1], seed=seed), strict=True))
    assert forward == backward


def test_folds_are_of_about_equal_size() -> None:
    counts = [0] * 5
    for i in range(5000):
        counts[fold_of(f"patient {i}")] += 1
    assert min(counts) > 900 and max(counts) < 1100


def test_another_seed_gives_another_split() -> None:
    assert [fold_of(f"p{i}") for i in range(50)] != [fold_of(f"p{i}", seed=1) for i in range(50)]


def test_shared_patient_is_refused_without_being_named() -> None:
    with pytest.raises(DataError, match="found 1 patients in both") as caught:
        check_no_patient_leaks({"train": ["Ann", "Bob"], "test": ["Bob"]})
    assert "Bob" not in str(caught.value)


def test_fewer_than_two_folds_are_refused() -> None:
    with pytest.raises(UsageError):
        fold_of("p", n_folds=1)


def test_single_patient_cannot_be_split() -> None:
    with pytest.raises(UsageError, match="1 patients"):
        inner_validation(["a", "a"])
