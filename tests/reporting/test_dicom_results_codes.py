"""Codes that viewers can read: short values, short meanings, one for each concept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from medfuse.reporting.dicom_results_codes import class_code, private, probability_code

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=90)


@given(NAMES, NAMES)
def test_own_codes_fit_what_dicom_allows(one: str, other: str) -> None:
    codes = [private("target", name, name) for name in (one, other)]
    for code in codes:
        assert 0 < len(code.value) <= 16 and code.value.isascii() and len(code.meaning) <= 64
        assert "\\" not in code.value
    assert (codes[0].value == codes[1].value) == (one == other)


def test_classes_of_two_targets_are_two_codes() -> None:
    assert class_code("texture", "3") != class_code("lobulation", "3")
    assert class_code("texture", "yes") == class_code("lobulation", "yes")
    assert probability_code("texture", "yes") != probability_code("lobulation", "yes")


def test_codes_of_the_standard_are_those_that_pydicom_knows() -> None:
    from pydicom.sr._concepts_dict import concepts

    from medfuse.reporting import dicom_results_codes, dicom_results_images, dicom_results_report

    known = {scheme: {value for names in found.values() for value in names} for scheme, found in concepts.items()}
    tables = (dicom_results_codes, dicom_results_images, dicom_results_report)
    used = {
        code
        for module in tables
        for value in vars(module).values()
        for code in (value.values() if isinstance(value, dict) else [value])
        if isinstance(code, dicom_results_codes.Code) and code.scheme in known
    }
    assert len(used) > 15
    assert [code for code in used if code.value not in known[code.scheme]] == []
