"""Every sentence of the explanation page, by key: ``explanation_en.toml``."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

from medfuse.reporting.catalogue import Catalogue

__all__ = ["explanation_sentences", "listed", "percent"]


@cache
def explanation_sentences() -> Catalogue:
    """Return the sentences of the explanation page.

    Examples
    --------
    >>> explanation_sentences()("reader.agree")
    'I agree'
    """
    text = (files("medfuse.reporting") / "explanation_en.toml").read_text(encoding="utf-8")
    content = tomllib.loads(text)
    return Catalogue("en", {f"{part}.{key}": s for part, said in content.items() for key, s in said.items()}, {})


def percent(value: float, other: float | None = None) -> str:
    """Return a probability as whole percent, or with a digit more where it would look equal to another and is not.

    Examples
    --------
    >>> percent(0.723), percent(0.502, 0.498), percent(0.001), percent(0.9996)
    ('72%', '50.2%', '<1%', '>99%')
    """
    if other is not None and value != other and round(100 * value) == round(100 * other):
        return f"{100 * value:.1f}%"
    if value < 0.005:
        return "<1%"
    return ">99%" if value > 0.995 else f"{100 * value:.0f}%"


def listed(names: list[str], joint: str) -> str:
    """Return names as a list in a sentence.

    Examples
    --------
    >>> listed(["a", "b", "c"], " and "), listed(["a"], " and ")
    ('a, b and c', 'a')
    """
    return joint.join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
