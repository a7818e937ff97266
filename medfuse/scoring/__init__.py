"""A whole archive in, one row a case out: scored or refused, nothing lost."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.scoring.engine import ScoreSummary, score
    from medfuse.scoring.ledger import Ledger

_HOME = {"Ledger": "ledger", "ScoreSummary": "engine", "score": "engine"}

__all__ = ["Ledger", "ScoreSummary", "score"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"medfuse.scoring.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
