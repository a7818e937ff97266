"""Free text -> its harmless words: only what a list allows stays, so that what nobody thought of goes.

Source: DICOM PS3.15 E.3.5 (Clean Descriptors Option), which leaves the way open.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from functools import lru_cache

from medfuse.io.deidentify_table import data_lines

__all__ = ["REMOVED", "clean_code_string", "clean_text", "code_strings", "harmless_words", "words_of"]

REMOVED = "REMOVED"
"""Stands where nothing of a text may stay: type 1 attributes must not be empty."""

TOKEN = re.compile(r"(?<![^\W_])\d+(?:[\s.,:/()+-]+\d+)*(?![^\W_])|[^\W_]+")
NUMBER = re.compile(r"\d{1,3}(?:\.\d{1,3})?")
CODE = re.compile(r"(?=[A-Za-z]*\d)(?=\d*[A-Za-z])(?!\d+[Yy])(?!(?:\D*\d){4})[A-Za-z0-9]{2,5}|[Bb]\d{1,2}[05]0")
"""T2, B30f, FC13, L5: letters with up to three digits, no age; or a b-value."""

CONTROL = re.compile(r"[\0-\x08\x0b\x0e-\x1f\x7f]")
SEPARATORS = re.compile(r"[^ \t\r\n.,;:/()+*%<>=&_-]")
AGES = frozenset({"y", "yr", "yrs", "yo", "year", "years", "old", "j", "jahre", "jahr", "ans", "anos"})
NUMBER_WORDS = 4


@lru_cache
def harmless_words() -> frozenset[str]:
    """Return the words that may stay in a text, in lower case."""
    return frozenset(" ".join(data_lines("clean_words.txt")).split())


@lru_cache
def code_strings() -> frozenset[str]:
    """Return the code strings that stay whole."""
    return frozenset(term.strip() for term in " ".join(data_lines("code_strings.txt")).split(" | "))


@lru_cache
def _parts_of_code_strings() -> frozenset[str]:
    return harmless_words() | {part.lower() for term in code_strings() for part in re.split(r"[ _&]", term)}


def words_of(text: str) -> list[str]:
    """Return the words and numbers of a text, in lower case.

    Examples
    --------
    >>> words_of("Müller^Anna-Lena 0815")
    ['müller', 'anna', 'lena', '0815']
    """
    return re.findall(r"[^\W_]+", text.casefold())


def clean_text(text: str, denied: AbstractSet[str] = frozenset()) -> str:
    """Leave of a text the words that are harmless, small numbers and short codes.

    Parameters
    ----------
    text : str
    denied : set of str
        Words in lower case that go in any case: the patient's own.

    Returns
    -------
    str
        ASCII; empty if nothing stays. Numbers that follow each other go (a date, a telephone number), and so do those
        above 999 and ages.

    Examples
    --------
    >>> clean_text("CT Chest 5.0 B30f for Anna Mueller, born 03.02.1951")
    'CT Chest 5.0 B30f for'
    >>> clean_text("T1 AX HEAD", {"head"}), clean_text("tel 555 1234, 93 years")
    ('T1 AX', '')
    """
    if CONTROL.search(text):  # an escape sequence of another character set, or text in UTF-16
        return ""
    tokens = list(TOKEN.finditer(text))
    following = [*(token.group().casefold() for token in tokens[1:]), ""]
    cleaned, end, was_number = "", 0, False  # end: of the token before, if that stays
    for token, after in zip(tokens, following, strict=False):
        is_number = token.group()[0].isdigit() and token.group()[-1].isdigit()
        is_kept = _is_harmless(token.group(), after, denied) and not (is_number and was_number)
        if is_kept and cleaned:
            cleaned += (SEPARATORS.sub("", text[end : token.start()]) if end else "") or " "
        cleaned, end = (cleaned + token.group(), token.end()) if is_kept else (cleaned, 0)
        was_number = is_number if is_kept else was_number
    return cleaned


def _is_harmless(token: str, after: str, denied: AbstractSet[str]) -> bool:
    word = token.casefold()
    if word in denied or not token.isascii():
        return False
    if token[0].isdigit() and not any(letter.isalpha() for letter in token):
        return NUMBER.fullmatch(token) is not None and after not in AGES and not denied & set(words_of(token))
    return len(token) == 1 or word in harmless_words() or CODE.fullmatch(token) is not None


def clean_code_string(text: str, denied: AbstractSet[str] = frozenset()) -> str:
    """Leave a code string (VR CS) as it is if the standard knows it or its parts say nothing; else `REMOVED`.

    Parameters
    ----------
    text : str
    denied : set of str
        As for `clean_text`; a code string of the standard stays though a patient bears that name.

    Returns
    -------
    str

    Examples
    --------
    >>> clean_code_string("AXIAL"), clean_code_string("CSA MPR_T2"), clean_code_string("MUELLER")
    ('AXIAL', 'CSA MPR_T2', 'REMOVED')
    """
    if not text or text in code_strings():
        return text
    parts = [part for part in re.split(r"[ _&-]+", text) if part]
    return text if len(text) <= 16 and all(_is_part(part, denied) for part in parts) else REMOVED


def _is_part(part: str, denied: AbstractSet[str]) -> bool:
    word = part.lower()
    if word in denied or not (part.isascii() and part.isalnum()):
        return False
    if part.isdigit():
        return len(part) < NUMBER_WORDS
    return len(part) <= 2 or word in _parts_of_code_strings() or CODE.fullmatch(part) is not None
