import re
import tomllib
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.errors import UsageError
from medfuse.reporting.catalogue import FOREIGN, LANGUAGES, Catalogue, _read, open_catalogue, placeholders

ENGLISH = _read("en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_the_same_with_the_same_values(language):
    other = _read(language)
    assert list(other) == list(ENGLISH)
    assert {k for k in ENGLISH if placeholders(other[k]) != placeholders(ENGLISH[k])} == set()
    assert not [key for key, sentence in other.items() if not sentence and key != "sentence.gap"]


def test_no_key_is_given_twice():
    for language in LANGUAGES:
        tomllib.loads((files("medfuse.reporting") / f"catalogue_{language}.toml").read_text("utf-8"))


def test_chinese_is_chinese():
    names = re.compile(r"\{\w+\}|Brier ↓")
    same = {key for key, text in _read("zh").items() if text == ENGLISH[key] and re.search("[a-z]{3}", text)}
    assert {key for key in same if not names.fullmatch(ENGLISH[key])} == set()


def test_an_unknown_sentence_or_language_is_named():
    with pytest.raises(UsageError, match="found no 'nothing'"):
        open_catalogue("en")("nothing")
    with pytest.raises(UsageError, match="n_cases: found no 'n'"):
        Catalogue("en", {"n_cases": "{n}"}, {})("n_cases")
    with pytest.raises(UsageError, match="one of en, zh"):
        open_catalogue("fr")


@given(st.text())
def test_a_value_is_never_read_as_a_sentence(value):
    assert open_catalogue("zh")("flow.left", n=1, reason=value).endswith(value)


@pytest.mark.parametrize("key", [key for key in ENGLISH if key.startswith(FOREIGN)])
def test_a_sentence_of_the_evaluation_is_known_by_its_wording(key):
    values = {name: str(number) for number, name in enumerate(sorted(placeholders(ENGLISH[key])), start=3)}
    english, chinese = open_catalogue("en"), open_catalogue("zh")
    assert chinese.translated(english(key, **values)) == chinese(key, **values)
    assert english.translated(english(key, **values)) == english(key, **values)


def test_a_sentence_that_nobody_knows_stays_as_it_is():
    assert open_catalogue("zh").translated("Rendered CT.") == "Rendered CT."


PAGES = (
    "base.html",
    "evaluation_base.html",
    "evaluation.html",
    "evaluation_parts.html",
    "targets.html",
    "comparison.html",
)


@pytest.mark.parametrize("name", PAGES)
def test_no_sentence_lives_in_a_template(name):
    source = (files("medfuse.reporting") / "templates" / name).read_text("utf-8")
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", source, flags=re.DOTALL)
    shown = re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL))
    assert re.findall(r"[^\W\d_]+", shown) == []
    spoken = re.findall(r'(?:alt|aria-label|title|placeholder)="([^"]*)"', text)
    assert [words for words in spoken if words.strip()] == []


def test_every_key_that_a_template_names_is_in_the_catalogue():
    sources = [(files("medfuse.reporting") / "templates" / name).read_text("utf-8") for name in PAGES]
    named = {key for source in sources for key in re.findall(r"say\([\"']([\w.]+)[\"'][,)]", source)}
    assert named and named <= set(ENGLISH)
