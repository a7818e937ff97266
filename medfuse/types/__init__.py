"""The nouns of the line that hold no tensor: one frozen, checked dataclass each.

Letters are fixed everywhere: B cases, C channels, I J K voxel indices, L tokens, E embedding, F fused,
M modalities, N outputs. Space is RAS+ millimetres; masks are True where something is present.
"""

from __future__ import annotations

from medfuse.types.answers import OUT_OF_DISTRIBUTION, UNCERTAIN, Explanation, Prediction, Target, answering
from medfuse.types.arrays import Array, Slices, Status, Unit
from medfuse.types.figures import Comparison, Estimate
from medfuse.types.reports import Finding, RadiologyReport, ReportText, Section
from medfuse.types.studies import CaseId, Lesion, Study
from medfuse.types.volumes import StoredVolume, Volume

__all__ = [
    "Array",
    "CaseId",
    "Comparison",
    "Estimate",
    "Explanation",
    "Finding",
    "Lesion",
    "OUT_OF_DISTRIBUTION",
    "Prediction",
    "RadiologyReport",
    "ReportText",
    "Section",
    "Slices",
    "Status",
    "StoredVolume",
    "Study",
    "Target",
    "UNCERTAIN",
    "Unit",
    "Volume",
    "answering",
]
