"""A whole archive in, one row a case out: scored or refused, nothing lost."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.scoring.annotations import AnnotateSummary, TextUse, annotate_reports
    from medfuse.scoring.engine import ScoreSummary, score
    from medfuse.scoring.exporting import export_results
    from medfuse.scoring.ledger import Ledger
    from medfuse.scoring.meter import Meter
    from medfuse.scoring.options import ScoreOptions
    from medfuse.scoring.pages import explain_results
    from medfuse.scoring.planning import ScorePlan, plan_scoring
    from medfuse.scoring.retrieval import Retrieval, RetrievedStudies, retrieve_studies
    from medfuse.scoring.status import RunStatus, run_status
    from medfuse.scoring.storing import Storing, store_results

_HOME = {
    "AnnotateSummary": "annotations",
    "Ledger": "ledger",
    "Meter": "meter",
    "Retrieval": "retrieval",
    "RetrievedStudies": "retrieval",
    "RunStatus": "status",
    "ScoreOptions": "options",
    "ScorePlan": "planning",
    "ScoreSummary": "engine",
    "Storing": "storing",
    "TextUse": "annotations",
    "annotate_reports": "annotations",
    "explain_results": "pages",
    "export_results": "exporting",
    "plan_scoring": "planning",
    "retrieve_studies": "retrieval",
    "run_status": "status",
    "score": "engine",
    "store_results": "storing",
}

__all__ = [
    "AnnotateSummary",
    "Ledger",
    "Meter",
    "Retrieval",
    "RetrievedStudies",
    "RunStatus",
    "ScoreOptions",
    "ScorePlan",
    "ScoreSummary",
    "Storing",
    "TextUse",
    "annotate_reports",
    "explain_results",
    "export_results",
    "plan_scoring",
    "retrieve_studies",
    "run_status",
    "score",
    "store_results",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"medfuse.scoring.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
