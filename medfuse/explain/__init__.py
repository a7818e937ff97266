"""What drove a prediction, and how far to believe it. Captum is wrapped here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.explain.attributions import explain
    from medfuse.explain.files import write_explanation
    from medfuse.explain.shares import modality_shares
    from medfuse.explain.studies import explain_study

_HOME = {
    "explain": "attributions",
    "explain_study": "studies",
    "modality_shares": "shares",
    "write_explanation": "files",
}

__all__ = ["explain", "explain_study", "modality_shares", "write_explanation"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"medfuse.explain.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
