"""A whole archive in, one row a case out: scored or refused, nothing lost."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.scoring.annotations import AnnotateSummary, TextUse, annotate_reports
    from medfuse.scoring.engine import ScoreOptions, ScoreSummary, score
    from medfuse.scoring.ledger import Ledger
    from medfuse.scoring.meter import Meter

_HOME = {
    "AnnotateSummary": "annotations",
    "Ledger": "ledger",
    "Meter": "meter",
    "ScoreOptions": "engine",
    "ScoreSummary": "engine",
    "TextUse": "annotations",
    "annotate_reports": "annotations",
    "score": "engine",
}

__all__ = ["AnnotateSummary", "Ledger", "Meter", "ScoreOptions", "ScoreSummary", "TextUse", "annotate_reports", "score"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"medfuse.scoring.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
