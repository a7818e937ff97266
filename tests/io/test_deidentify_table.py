from __future__ import annotations

import csv

import pytest
from pydicom.datadict import dictionary_description, dictionary_has_tag

from medfuse.io.deidentify_table import EDITION, TABLE, Action, actions, data_lines, methods
from medfuse.io.deidentify_text import clean_code_string, code_strings, harmless_words

ROWS = list(csv.DictReader(data_lines(TABLE)))
NEWER_THAN_PYDICOM = 27
"""Rows of attributes that pydicom 3.0's dictionary does not know yet."""

SPELLED_OTHERWISE = {"00404023"}


def test_every_row_bears_the_name_that_the_dictionary_of_the_standard_gives_its_tag() -> None:
    plain = [row for row in ROWS if "x" not in row["tag"]]
    known = [row for row in plain if dictionary_has_tag(int(row["tag"], 16))]

    def name(text: str) -> str:
        return text.lower().replace(" ", "").replace("’", "'")

    wrong = [row for row in known if name(row["name"]) != name(dictionary_description(int(row["tag"], 16)))]
    assert [row["tag"] for row in wrong if row["tag"] not in SPELLED_OTHERWISE] == []
    assert (len(ROWS), len({row["tag"] for row in ROWS})) == (655, 655)
    assert len(plain) - len(known) <= NEWER_THAN_PYDICOM


def test_actions_and_options_are_those_of_the_standard() -> None:
    assert EDITION == "2026c"
    basic = {row["basic"] for row in ROWS}
    assert basic == {"D", "Z", "X", "U", "X/Z", "X/D", "Z/D", "X/Z/D", "X/Z/U*"}
    options = {value for row in ROWS for key, value in row.items() if key not in ("tag", "name", "basic")}
    assert options == {"", "C", "K", "-"}


@pytest.mark.parametrize(
    ("tag", "action"),
    [
        (0x00100010, Action.EMPTY),  # Patient's Name Z: the pseudonym stands in it
        (0x00100030, Action.EMPTY),  # Patient's Birth Date: no option keeps it
        (0x00080020, Action.CLEAN),  # Study Date, modified dates
        (0x0008103E, Action.CLEAN),  # Series Description, clean descriptors
        (0x0040A730, Action.CLEAN),  # Content Sequence, clean structured content
        (0x00700001, Action.CLEAN),  # Graphic Annotation Sequence, clean graphics
        (0x00080080, Action.DUMMY),  # Institution Name X/Z/D
        (0x00081010, Action.DUMMY),  # Station Name X/Z/D
        (0x00880200, Action.REMOVE),  # Icon Image Sequence
        (0x04000561, Action.REMOVE),  # Original Attributes Sequence
        (0xFFFAFFFA, Action.REMOVE),  # Digital Signatures Sequence
        (0x00081140, Action.CLEAN),  # Referenced Image Sequence X/Z/U*
        (0x0020000E, Action.CLEAN),  # Series Instance UID U
    ],
)
def test_known_rows_give_their_action(tag: int, action: Action) -> None:
    assert actions()[tag] is action


def test_characteristics_are_kept_only_when_asked_for() -> None:
    changed = {tag for tag, action in actions(characteristics=True).items() if action is not actions()[tag]}
    assert {0x00100040, 0x00101010, 0x00101020, 0x00101030} <= changed
    assert changed & {0x00100010, 0x00100020, 0x00100030} == set()
    assert [code for code, _ in methods(characteristics=True)][-1] == "113108"


def test_words_that_may_stay_are_no_names() -> None:
    surnames = "smith johnson williams jones garcia miller davis rodriguez martinez wilson anderson taylor thomas moore"
    given = "james mary robert patricia john jennifer michael linda david elizabeth anna maria peter hans li wang"
    months = "january february march april may june july august september october november december"
    assert harmless_words() & set(f"{surnames} {given} {months} mrs miss".split()) == set()
    assert all(word.isalpha() and word.islower() for word in harmless_words())


def test_code_strings_are_code_strings() -> None:
    assert all(0 < len(term) <= 16 and term == term.strip().upper() for term in code_strings())
    for term in (
        "AXIAL",
        "HFS",
        "MONOCHROME2",
        "PALETTE COLOR",
        "YBR_FULL_422",
        "RTSTRUCT",
        "CT",
        "FFDR",
        "PROJECTION IMAGE",
    ):
        assert clean_code_string(term, {"axial", "ct"}) == term
