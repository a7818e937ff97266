from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.config import DataConfig
from medfuse.data import Case
from medfuse.errors import DataError
from medfuse.training.parts import Parts, split_cases
from medfuse.types import CaseId


def case(patient: str, *, key: str = "", number: int = 0, **row: str) -> Case:
    identity = CaseId(f"S{patient}-{number}", "1")
    return Case(identity, key or f"P{patient}", patient, None, None, {"malignancy": number % 2}, row)


def ids(cases: Sequence[Case]) -> list[str]:
    return [one.patient_id for one in cases]


@given(
    patients=st.lists(st.integers(0, 30), min_size=8, max_size=60).filter(lambda p: len({x % 4 for x in p}) == 4),
    test_fold=st.integers(0, 3),
    fraction=st.floats(0.05, 0.9),
    seed=st.integers(0, 100),
)
def test_parts_share_no_patient_and_lose_no_case(
    patients: list[int], test_fold: int, fraction: float, seed: int
) -> None:
    cases = [case(str(p), number=i, fold=str(p % 4)) for i, p in enumerate(patients)]
    parts = split_cases(cases, DataConfig(test_fold=test_fold, validation_fraction=fraction), seed=seed)
    train, validation, test = ({*ids(part)} for part in (parts.train, parts.validation, parts.test))
    assert not train & validation and not train & test and not validation & test
    assert len(parts.train) + len(parts.validation) + len(parts.test) == len(cases)
    assert {int(p) % 4 for p in test} == {test_fold}


def test_validation_does_not_depend_on_the_pseudonym_key() -> None:
    first = [case(f"p{i}", key=f"P{i}", fold=str(i % 3)) for i in range(30)]
    second = [replace(one, patient_key=f"Q{29 - i}", id=CaseId(f"T{i}", "1")) for i, one in enumerate(first)]
    parts = [split_cases(cases, DataConfig(), seed=3) for cases in (first, second)]
    assert ids(parts[0].validation) == ids(parts[1].validation)


def test_validation_does_not_depend_on_the_order_of_the_cases() -> None:
    cases = [case(f"p{i}", fold=str(i % 3)) for i in range(30)]
    parts = [split_cases(order, DataConfig(), seed=3) for order in (cases, cases[::-1])]
    assert set(ids(parts[0].validation)) == set(ids(parts[1].validation))


def test_another_seed_holds_out_other_patients() -> None:
    cases = [case(f"p{i}", fold=str(i % 3)) for i in range(60)]
    parts = [split_cases(cases, DataConfig(), seed=seed) for seed in (0, 1)]
    assert ids(parts[0].validation) != ids(parts[1].validation)
    assert ids(parts[0].test) == ids(parts[1].test)


def test_a_split_column_is_obeyed() -> None:
    cases = [case("a", split="train"), case("b", split="VAL"), case("c", split="validation"), case("d", split="test")]
    parts = split_cases(cases, DataConfig(), seed=0)
    assert (ids(parts.train), ids(parts.validation), ids(parts.test)) == (["a"], ["b", "c"], ["d"])


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(DataError, match="column split: found 'holdout'"):
        split_cases([case("a", split="holdout")], DataConfig(), seed=0)


def test_a_case_without_a_label_can_only_train() -> None:
    cases = [case(f"p{i}", number=i, fold=str(i % 3)) for i in range(30)]
    unlabelled = [replace(one, targets={}) if number % 4 == 0 else one for number, one in enumerate(cases)]
    before, parts = (split_cases(given, DataConfig(), seed=0) for given in (cases, unlabelled))
    assert all(one.targets for one in (*parts.validation, *parts.test))
    assert not all(one.targets for one in parts.train)
    assert ids(parts.train) == ids(before.train)
    assert {*ids(parts.validation)} < {*ids(before.validation)}


@pytest.mark.parametrize("test_fold", [None, 0])
def test_neither_split_nor_fold_is_refused(test_fold: int | None) -> None:
    with pytest.raises(DataError, match="neither a split nor a fold"):
        split_cases([case("a"), case("b")], DataConfig(test_fold=test_fold), seed=0)


def test_a_patient_in_two_parts_is_refused_with_the_count_and_no_name() -> None:
    cases = [case("Doe", split="train"), case("b", split="validation"), case("Doe", number=1, split="test")]
    with pytest.raises(DataError, match="found 1 patients in both") as caught:
        split_cases(cases, DataConfig(), seed=0)
    assert "Doe" not in str(caught.value)


def test_where_splits_hold_nothing_out_no_case_tests() -> None:
    cases = [case(f"p{i}", split="train" if i % 3 else "val") for i in range(9)]
    parts = split_cases(cases, DataConfig(), seed=0)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (6, 3, 0)
    unlabelled = replace(case("q", split="test"), targets={})
    with pytest.raises(DataError, match="test part: found no case"):
        split_cases([*cases, unlabelled], DataConfig(), seed=0)


def test_an_empty_part_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="test part: found no case"):
        split_cases([case(f"p{i}", fold="1") for i in range(9)], DataConfig(), seed=0)
    with pytest.raises(DataError, match="validation part"):
        Parts((case("a"),), (), (case("b"),))
