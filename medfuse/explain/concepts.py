"""What a model reads of the attributes that it learnt beside the answer."""

from __future__ import annotations

import torch

from medfuse.config import AttributeConfig
from medfuse.explain.case_logit import CaseLogit
from medfuse.explanation_parts import Concept
from medfuse.inference.calibration import Calibration, conditions_of

__all__ = ["read_concepts"]


def read_concepts(case: CaseLogit) -> tuple[Concept, ...]:
    """Return the model's own reading of each attribute, by every condition that the case allows.

    Parameters
    ----------
    case : CaseLogit

    Returns
    -------
    tuple of Concept
        In the order of the model's attributes; empty if it keeps none.
    """
    attributes = case.bundle.attributes
    if not attributes:
        return ()
    modalities = case.bundle.preprocessing.modalities
    conditions = {
        name: parts for name, parts in conditions_of(modalities).items() if set(parts) <= set(case.modalities)
    }
    with torch.inference_mode():
        outputs = {name: case.model(case.batch.only(*parts)).logits for name, parts in conditions.items()}
    plain = Calibration()
    return tuple(
        Concept(
            AttributeConfig.of(one).column,
            one.classes,
            {name: tuple(plain.probabilities(found[one.name], one)[0].tolist()) for name, found in outputs.items()},
        )
        for one in attributes
    )
