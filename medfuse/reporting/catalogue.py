"""Every sentence of the evaluation pages, by key, in each language: ``catalogue_<language>.toml``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from string import Formatter
from typing import Any

from medfuse.errors import UsageError

__all__ = ["LANGUAGES", "Catalogue", "open_catalogue", "placeholders"]

LANGUAGES = ("en", "zh")
FOREIGN = "numbers."
"""Sentences that the evaluation itself makes in English; `Catalogue.translated` finds their key by their wording."""


class Catalogue:
    """The sentences of one language.

    Parameters
    ----------
    language : str
    sentences : mapping of str to str
        By key; ``{name}`` is a placeholder.
    english : mapping of str to str
        The same in English, to know the sentences of the evaluation by.

    Examples
    --------
    >>> say = Catalogue("en", {"n_cases": "Cases: {n}"}, {})
    >>> say("n_cases", n=3)
    'Cases: 3'
    """

    def __init__(self, language: str, sentences: Mapping[str, str], english: Mapping[str, str]) -> None:
        self.language = language
        self._sentences = dict(sentences)
        self._patterns = [(key, _pattern(text)) for key, text in english.items() if key.startswith(FOREIGN)]

    def __call__(self, key: str, **values: object) -> str:
        """Return a sentence with its placeholders filled.

        Parameters
        ----------
        key : str
        **values : object
            Each placeholder's; numbers come as text, formatted.

        Raises
        ------
        UsageError
            If there is no such sentence, or a placeholder has no value.
        """
        try:
            return self._sentences[key].format_map(values)
        except KeyError as error:
            found = f"found no {error.args[0]!r}"
            raise UsageError(f"catalogue {self.language}, {key}", found, expected="a key or value") from error

    def __contains__(self, key: object) -> bool:
        return key in self._sentences

    def of(self, prefix: str, name: str, fallback: str) -> str:
        """Return the sentence ``prefix.name``, or the fallback where there is none: a name that a user gave."""
        return self._sentences.get(f"{prefix}.{name}", fallback)

    def translated(self, sentence: str) -> str:
        """Return a sentence of the evaluation in this language; one that is unknown stays as it is.

        Parameters
        ----------
        sentence : str
            In English, as `medfuse.evaluation` made it.
        """
        if self.language == "en":
            return sentence
        for key, pattern in self._patterns:
            if found := pattern.fullmatch(sentence):
                values = {name: self.translated(text) for name, text in found.groupdict().items()}
                return self._sentences[key].format_map(values)
        return sentence


@cache
def open_catalogue(language: str) -> Catalogue:
    """Return the sentences of a language.

    Parameters
    ----------
    language : {"en", "zh"}

    Returns
    -------
    Catalogue

    Raises
    ------
    UsageError
        If there is no catalogue of that language.
    """
    if language not in LANGUAGES:
        raise UsageError("--language", f"found {language!r}", expected=f"one of {', '.join(LANGUAGES)}")
    return Catalogue(language, _read(language), _read("en"))


def placeholders(sentence: str) -> set[str]:
    """Return the names of a sentence's placeholders.

    Examples
    --------
    >>> sorted(placeholders("{n} of {total}"))
    ['n', 'total']
    """
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


def _read(language: str) -> dict[str, str]:
    text = (files("medfuse.reporting") / f"catalogue_{language}.toml").read_text(encoding="utf-8")
    return _flat(tomllib.loads(text))


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: str(value)}
    return flat


def _pattern(sentence: str) -> re.Pattern[str]:
    parts = [re.escape(text) + (f"(?P<{name}>.+?)" if name else "") for text, name, _, _ in Formatter().parse(sentence)]
    return re.compile("".join(parts), re.DOTALL)
