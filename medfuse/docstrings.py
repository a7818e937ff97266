"""What numpydoc docstrings say of parameters, for pages that are written from the code."""

from __future__ import annotations

import inspect
import re

__all__ = ["parameters", "summary"]

_SECTION = re.compile(r"Parameters\n-+\n(.*?)(?=\n\n\w+\n-{3,}|\Z)", re.DOTALL)
_ENTRY = re.compile(r"^(\w[\w, ]*?)(?: :.*)?\n((?:    .*(?:\n|\Z)|\n(?=    ))*)", re.MULTILINE)


def parameters(docstring: str | None) -> dict[str, str]:
    """Return what a docstring says of each parameter, in one line each.

    Parameters
    ----------
    docstring : str or None

    Returns
    -------
    dict of str to str
        Empty text for one that is named and not described.

    Examples
    --------
    >>> parameters('''Add.
    ...
    ...     Parameters
    ...     ----------
    ...     a, b : int
    ...         Both of
    ...         them.
    ...     c
    ... ''')
    {'a': 'Both of them.', 'b': 'Both of them.', 'c': ''}
    """
    section = _SECTION.search(inspect.cleandoc(docstring or ""))
    meanings: dict[str, str] = {}
    for names, text in _ENTRY.findall(section[1] + "\n" if section else ""):
        meanings |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return meanings


def summary(docstring: str | None) -> str:
    """Return the first paragraph of a docstring in one line.

    Parameters
    ----------
    docstring : str or None

    Examples
    --------
    >>> summary('''Add one
    ... to another.
    ...
    ... Slowly.''')
    'Add one to another.'
    """
    return " ".join(inspect.cleandoc(docstring or "").split("\n\n")[0].split())
