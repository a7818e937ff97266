"""The aligners by name; see `medfuse.models.aligner` for what they offer."""

from __future__ import annotations

from medfuse.models.aligner import Aligner, AlignmentContext, NoAlignment
from medfuse.models.contrastive import InfoNce, SigLip, SupervisedContrastive

__all__ = [
    "ALIGNERS",
    "Aligner",
    "AlignmentContext",
    "InfoNce",
    "NoAlignment",
    "SigLip",
    "SupervisedContrastive",
]

ALIGNERS: dict[str, type[Aligner]] = {
    "infonce": InfoNce,
    "none": NoAlignment,
    "siglip": SigLip,
    "supervised_contrastive": SupervisedContrastive,
}
