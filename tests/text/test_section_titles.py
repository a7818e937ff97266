from __future__ import annotations

from pathlib import Path

import pytest

from medfuse.text import find_sections
from medfuse.text.sections import find_headings
from medfuse.text.words import read_data

REAL_TITLES = Path(__file__).resolve().parents[3] / "shared/data/nlp/sections/radtext_section_titles.txt"


def test_each_title_of_the_table_opens_its_section():
    for name, titles in read_data("section_titles.yaml")["titles"].items():
        for title in titles:
            assert [s.name for s in find_sections(f"{title.title()}: Text.")] == [name]
            assert [s.name for s in find_sections(f"{title.upper()}\nText.")] == [name]


def test_no_title_opens_two_sections():
    titles = [title for titles in read_data("section_titles.yaml")["titles"].values() for title in titles]
    assert len(titles) == len(set(titles))


def test_anatomy_opens_findings_only_where_none_are_open():
    text = "INDICATION: Cough.\nLUNGS: Clear.\nPLEURA: Normal.\nIMPRESSION: Well.\nPLEURA: Dry."
    assert [name for name, _, _ in find_headings(text)] == ["indication", "findings", "", "impression", ""]


@pytest.mark.parametrize(
    ("title", "name"),
    [("FINDNGS", "findings"), ("IMPRESSON", "impression"), ("CORRECTED IMPRESSION", "impression"), ("REASON FOR THE SCAN", "indication"), ("PORTABLE AP CHEST RADIOGRAPH", "findings")],
)  # fmt: skip
def test_unlisted_title_in_capitals_is_read_by_its_key_word(title, name):
    assert [s.name for s in find_sections(f"{title}: Text.")] == [name]


@pytest.mark.skipif(not REAL_TITLES.exists(), reason="needs the list of real section titles in ../shared")
def test_most_real_titles_are_named():
    titles = REAL_TITLES.read_text(encoding="utf-8").split("\n")
    named = [h for title in titles if title and (h := find_headings(f"{title}\nText.")) and h[0][0]]
    assert len(named) >= 0.85 * len(titles)
