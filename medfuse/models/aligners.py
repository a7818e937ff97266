"""The aligners by name; see `medfuse.models.aligner` for what they offer."""

from __future__ import annotations

from medfuse.models.adversarial import Adversarial
from medfuse.models.aligner import Aligner, AlignmentContext, NoAlignment
from medfuse.models.contrastive import InfoNce, SigLip, SupervisedContrastive
from medfuse.models.correlation import DeepCca
from medfuse.models.global_local import GlobalLocal
from medfuse.models.mappings import CrossModalMapping, Euclidean, TransferMatrix

__all__ = [
    "ALIGNERS",
    "Adversarial",
    "Aligner",
    "AlignmentContext",
    "CrossModalMapping",
    "DeepCca",
    "Euclidean",
    "GlobalLocal",
    "InfoNce",
    "NoAlignment",
    "SigLip",
    "SupervisedContrastive",
    "TransferMatrix",
]

ALIGNERS: dict[str, type[Aligner]] = {
    "adversarial": Adversarial,
    "cross_modal_mapping": CrossModalMapping,
    "deep_cca": DeepCca,
    "euclidean": Euclidean,
    "global_local": GlobalLocal,
    "infonce": InfoNce,
    "none": NoAlignment,
    "siglip": SigLip,
    "supervised_contrastive": SupervisedContrastive,
    "transfer_matrix": TransferMatrix,
}
