from collections.abc import Sequence
from dataclasses import replace

import pytest

from medfuse.config import RunConfig
from medfuse.data import Case
from medfuse.errors import DataError
from medfuse.training.parts import TRAINING_ONLY, split_cases


def marked(case: Case, **row: str) -> Case:
    return replace(case, row={**case.row, **row, TRAINING_ONLY: "yes"})


def test_a_reader_s_label_is_refused_in_a_test_split(toy_cases: Sequence[Case], toy_config: RunConfig) -> None:
    cases = [marked(toy_cases[0], split="test"), *toy_cases[1:]]
    with pytest.raises(DataError, match="may only train in the test part"):
        split_cases(cases, toy_config.data, seed=0)


def test_by_folds_a_reader_s_label_neither_tests_nor_validates(
    toy_cases: Sequence[Case], toy_config: RunConfig
) -> None:
    before = split_cases(toy_cases, toy_config.data, seed=0)
    chosen = {before.test[0].id, before.validation[0].id, before.train[0].id}
    after = split_cases([marked(c) if c.id in chosen else c for c in toy_cases], toy_config.data, seed=0)
    assert [c.id for c in after.test] == [c.id for c in before.test[1:]]
    assert [c.id for c in after.validation] == [c.id for c in before.validation[1:]]
    assert [c.id for c in after.train] == [c.id for c in before.train]
