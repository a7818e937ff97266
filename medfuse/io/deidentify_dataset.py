"""A DICOM data set -> the same without anybody in it: Basic Profile and options, items of sequences included."""

from __future__ import annotations

import re
from collections.abc import Mapping

from medfuse import __version__
from medfuse.io.deidentify_elements import CHARACTER_SET, Element, Elements
from medfuse.io.deidentify_identity import Identity, decode_text, encodings_of
from medfuse.io.deidentify_table import EDITION, Action, actions, methods
from medfuse.io.deidentify_text import REMOVED, clean_text
from medfuse.io.deidentify_values import clean_value, dummy_value, encode_text

__all__ = ["clean_dataset", "is_known_code"]

PATIENT_NAME, PATIENT_ID = 0x00100010, 0x00100020
IDENTITY_REMOVED, METHOD, METHOD_CODES, DATES_MODIFIED = 0x00120062, 0x00120063, 0x00120064, 0x00280303
SET_HERE = frozenset({PATIENT_NAME, PATIENT_ID, IDENTITY_REMOVED, METHOD, METHOD_CODES, DATES_MODIFIED})

CODE_VALUE, CODING_SCHEME, CODE_MEANING = 0x00080100, 0x00080102, 0x00080104
LONG_CODE_VALUES = frozenset({0x00080119, 0x00080120})
OWN_SCHEME = "99REMOVED"
PERSON_CODES = 0x00401101

SCHEMES: Mapping[str, re.Pattern[str]] = {
    scheme: re.compile(form)
    for scheme, form in {
        "DCM": r"\d{6}",
        "SCT": r"\d{6,18}",
        "SRT": r"[A-Z]-[0-9A-F]{4,6}",
        "SNM3": r"[A-Z]-[0-9A-F]{4,6}",
        "99SDM": r"[A-Z]-[0-9A-F]{4,6}",
        "LN": r"\d{1,5}-\d",
        "RADLEX": r"RID\d{1,6}",
        "FMA": r"\d{1,6}",
        "MDC": r"\d:\d{1,6}",
        "NCIt": r"C\d{1,6}",
        "UMLS": r"C\d{7}",
        "RXNORM": r"\d{1,7}",
        "IBSI": r"[A-Z0-9]{4}",
        "NEU": r"\d{1,4}",
        "BARI": r"\d{1,2}[a-z]?",
        "I10": r"[A-Z]\d{2}(?:\.\d{1,2})?",
        "RFC5646": r"[a-z]{2}(?:-[A-Z]{2})?",
        "ISO639_2": r"[a-z]{3}",
        "UCUM": (
            r"1|%|ppm|\{(?:ratio|counts|propcounts|MU|Particles|pixels|voxels|score|no units)\}(?:/s)?"
            r"|(?:[./]?(?:\[?[hH]nsf'U\]?|mm\[Hg\]|\[100\]|10\*-?\d{1,2}|10-6|[kMmunpcd]?(?:Bq|Gy|Sv|Hz|eV|mol|Ci|Pa|[gmslLVATJWNB])"
            r"|min|h|d|wk|mo|a|deg|rad|Cel|dyn)-?\d?(?:\{SUV[a-zA-Z0-9()]{1,12}\})?){1,5}"
        ),
    }.items()
}
"""How codes of the schemes look that PS3.16 uses; other codes may be a site's own, and name anything."""


def clean_dataset(
    elements: Elements, identity: Identity, *, characteristics: bool = False, removed: bool = True
) -> Elements:
    """De-identify a data set.

    Parameters
    ----------
    elements : tuple of Element
        As `medfuse.io.deidentify_elements.read_raw` gives them.
    identity : Identity
    characteristics : bool
        Keep sex, age, size, weight and the like.
    removed : bool
        What PatientIdentityRemoved shall say: False if the pixels may still show who it is.

    Returns
    -------
    tuple of Element
        All text in it is ASCII.

    Notes
    -----
    Source: DICOM PS3.15 Annex E; PS3.3 C.7.1.1 and C.12.1.1.
    """
    cleaner = _Cleaner(identity, actions(characteristics=characteristics))
    cleaned = [element for element in cleaner.clean(elements, ["iso8859"]) if element.tag not in SET_HERE]
    codes = tuple(_code_item(code, "DCM", meaning) for code, meaning in methods(characteristics=characteristics))
    said = (f"medfuse {__version__}", f"DICOM PS3.15 {EDITION} Table E.1-1")
    cleaned += [
        Element(PATIENT_NAME, "PN", encode_text(identity.pseudonym, "PN")),
        Element(PATIENT_ID, "LO", encode_text(identity.pseudonym, "LO")),
        Element(IDENTITY_REMOVED, "CS", encode_text("YES" if removed else "NO", "CS")),
        Element(METHOD, "LO", encode_text("\\".join(said), "LO")),
        Element(METHOD_CODES, "SQ", codes),
        Element(DATES_MODIFIED, "CS", encode_text("MODIFIED", "CS")),
    ]
    return tuple(sorted(cleaned, key=lambda element: element.tag))


def _code_item(code: str, scheme: str, meaning: str) -> Elements:
    return (
        Element(CODE_VALUE, "SH", encode_text(code, "SH")),
        Element(CODING_SCHEME, "SH", encode_text(scheme, "SH")),
        Element(CODE_MEANING, "LO", encode_text(meaning, "LO")),
    )


class _Cleaner:
    """Cleans data sets of one file."""

    def __init__(self, identity: Identity, table: Mapping[int, Action]) -> None:
        self._identity, self._table = identity, table

    def clean(self, elements: Elements, encodings: list[str], *, is_person: bool = False) -> Elements:
        """Clean a data set or an item; the code of a person goes in any case."""
        encodings = encodings_of(elements, encodings)
        code = self._code(elements, encodings, is_person=is_person)
        kept = (self._element(element, encodings) for element in elements)
        rest = [element for element in kept if element is not None and element.tag not in {part.tag for part in code}]
        return tuple(sorted((*rest, *code), key=lambda element: element.tag))

    def _element(self, element: Element, encodings: list[str]) -> Element | None:
        tag, vr, value = element.tag, element.vr, element.value
        action = self._table.get(tag, Action.CLEAN)
        if action is Action.REMOVE or tag == CHARACTER_SET or tag in LONG_CODE_VALUES:
            return None
        if tag in (PATIENT_NAME, PATIENT_ID):
            return Element(tag, vr, encode_text(self._identity.pseudonym, vr))
        if not isinstance(value, bytes):
            is_person = tag == PERSON_CODES
            items = () if action is Action.EMPTY else value
            return Element(tag, vr, tuple(self.clean(item, encodings, is_person=is_person) for item in items))
        if action is Action.EMPTY:
            return Element(tag, vr, b"")
        if action is Action.DUMMY:
            cleaned = dummy_value(vr, value, self._identity)
        else:
            cleaned = clean_value(tag, vr, value, self._identity, encodings=encodings)
        return None if cleaned is None else Element(tag, vr, cleaned)

    def _code(self, elements: Elements, encodings: list[str], *, is_person: bool) -> Elements:
        """Return the three elements of an item's code, cleaned; nothing if it holds none."""
        texts = {
            element.tag: decode_text(element.value, encodings)
            for element in elements
            if isinstance(element.value, bytes) and element.tag in {CODE_VALUE, CODING_SCHEME, CODE_MEANING}
        }
        if CODE_VALUE not in texts and not any(element.tag in LONG_CODE_VALUES for element in elements):
            return ()
        code, scheme = texts.get(CODE_VALUE, ""), texts.get(CODING_SCHEME, "")
        meaning = clean_text(texts.get(CODE_MEANING, ""), self._identity.words) or REMOVED
        if not is_person and is_known_code(code, scheme) and code not in self._identity.words:
            return _code_item(code, scheme, meaning)
        return _code_item(REMOVED, OWN_SCHEME, REMOVED if is_person else meaning)


def is_known_code(code: str, scheme: str) -> bool:
    """Tell whether a code has the form of a scheme that PS3.16 uses.

    Examples
    --------
    >>> is_known_code("113100", "DCM"), is_known_code("mm/s", "UCUM"), is_known_code("Anna", "DCM")
    (True, True, False)
    """
    return scheme in SCHEMES and SCHEMES[scheme].fullmatch(code) is not None
