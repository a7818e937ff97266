from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID, CTImageStorage, UID_dictionary

from medfuse.io.deidentify_elements import Element
from medfuse.io.deidentify_identity import identity_of, mapped_uid
from medfuse.io.pseudonyms import Pseudonymizer

NAMES, OTHER = Pseudonymizer(bytes(32)), Pseudonymizer(b"\1" * 32)
UIDS = st.lists(st.integers(0, 10**9), min_size=2, max_size=6).map(lambda parts: "1.3." + ".".join(map(str, parts)))


@given(UIDS, UIDS)
def test_uids_are_mapped_one_to_one_to_valid_ones_and_only_by_the_key(first: str, second: str) -> None:
    mapped = mapped_uid(NAMES, first)
    assert UID(mapped).is_valid and re.fullmatch(r"2\.25\.\d{1,39}", mapped)
    assert mapped == mapped_uid(Pseudonymizer(bytes(32)), first) != mapped_uid(OTHER, first)
    assert (mapped == mapped_uid(NAMES, second)) is (first == second)


@given(st.text(min_size=1, max_size=64).filter(lambda text: text not in UID_dictionary))
def test_what_is_no_uid_becomes_one(text: str) -> None:
    assert UID(mapped_uid(NAMES, text)).is_valid


def test_uids_that_the_standard_registers_stay() -> None:
    assert all(mapped_uid(NAMES, uid) == uid for uid in UID_dictionary)
    assert mapped_uid(NAMES, "1.2.840.10008.5.1.4.1.1.999.3") == "1.2.840.10008.5.1.4.1.1.999.3"  # of a newer edition
    assert mapped_uid(NAMES, "1.2.840.10008.5.1.4.19510203") != "1.2.840.10008.5.1.4.19510203"
    assert mapped_uid(NAMES, "") == ""


def elements(**values: bytes) -> tuple[Element, ...]:
    tags = {"charset": 0x00080005, "sop_class": 0x00080016, "name": 0x00100010, "id": 0x00100020, "study": 0x0020000D,
            "operator": 0x00081070}  # fmt: skip
    vrs = {"charset": "CS", "sop_class": "UI", "id": "LO", "study": "UI"}
    return tuple(Element(tags[key], vrs.get(key, "PN"), value) for key, value in values.items())


def test_words_of_all_persons_and_ids_are_found_in_their_character_set() -> None:
    found = identity_of(
        elements(
            charset=b"ISO_IR 192",
            name="Müller-Lüdenscheidt^Anna=王^小东".encode(),
            id=b"AB-4711/2",
            operator=b"Doe^J.\\Roe^K",
        ),
        NAMES,
    )
    assert {"müller", "lüdenscheidt", "anna", "王", "小东", "ab", "4711", "doe", "roe"} <= found.words
    assert "j" not in found.words
    assert found.pseudonym == NAMES.patient("AB-4711/2")


def test_without_a_patient_id_each_study_has_its_own_pseudonym() -> None:
    found = {identity_of(elements(id=b"", study=uid), NAMES).pseudonym for uid in (b"1.2.3\0", b"1.2.4\0")}
    assert len(found) == 2


@pytest.mark.parametrize(
    ("data", "is_in"),
    [
        (b"..MUELLERSEN..", True),
        ("Muellersen".encode("utf-16-le"), True),
        (b"id 0047118299 x", True),
        (b"head brain sternum", False),
        (b"AB 12", False),
    ],
)
def test_words_are_found_in_bytes_unless_any_file_holds_them(data: bytes, is_in: bool) -> None:
    assert identity_of(elements(name=b"Muellersen^Head^Stern^AB", id=b"0047118299"), NAMES).is_in(data) is is_in


def test_an_identity_shows_nobody() -> None:
    found = identity_of(elements(name=b"Muellersen", id=b"0047118299", sop_class=CTImageStorage.encode()), NAMES)
    assert not re.search("(?i)muellersen|0047118299", repr(found))
