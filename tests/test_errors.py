from __future__ import annotations

import pickle

import pytest

from medfuse import errors
from medfuse.errors import MedfuseError, nearest_name


def test_every_error_is_in_the_tree_of_the_module_docstring() -> None:
    tree = errors.__doc__ or ""
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, MedfuseError)]
    assert len(kinds) == 16
    assert [k.__name__ for k in kinds if k.__name__ not in tree] == []


def test_error_survives_a_process_boundary() -> None:
    original = errors.GeometryError("series 2", "a gap of 5 mm", expected="even slices")
    assert str(pickle.loads(pickle.dumps(original))) == "series 2: a gap of 5 mm; expected even slices"


@pytest.mark.parametrize(("name", "hint"), [("colour", "did you mean 'color'?"), ("zzz", "one of 'color', 'size'")])
def test_nearest_name_lists_all_and_hints_when_near(name: str, hint: str) -> None:
    assert hint in nearest_name(name, ["size", "color"])
