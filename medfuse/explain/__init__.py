"""What drove a prediction, and how far to believe it. Captum is wrapped here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.explain.case_logit import CaseLogit
    from medfuse.explain.checks import CheckOptions
    from medfuse.explain.explaining import ExplainOptions, explain, held_against
    from medfuse.explain.files import write_explanation
    from medfuse.explain.methods import METHODS, build_method
    from medfuse.explain.shares import modality_shares
    from medfuse.explain.studies import PageOptions, explain_study

_HOME = {
    "METHODS": "methods",
    "CaseLogit": "case_logit",
    "CheckOptions": "checks",
    "ExplainOptions": "explaining",
    "PageOptions": "studies",
    "build_method": "methods",
    "explain": "explaining",
    "explain_study": "studies",
    "held_against": "explaining",
    "modality_shares": "shares",
    "write_explanation": "files",
}

__all__ = [
    "METHODS",
    "CaseLogit",
    "CheckOptions",
    "ExplainOptions",
    "PageOptions",
    "build_method",
    "explain",
    "explain_study",
    "held_against",
    "modality_shares",
    "write_explanation",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"medfuse.explain.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
