"""The training cases that lie nearest in the space that the modalities share."""

from __future__ import annotations

from medfuse.explanation_parts import SimilarCase
from medfuse.inference import Bundle, embed_samples
from medfuse.tensors import Sample

__all__ = ["similar_cases"]

N_CASES = 5


def similar_cases(bundle: Bundle, sample: Sample, *, n: int = N_CASES) -> tuple[SimilarCase, ...]:
    """Return the training cases most like a case.

    Parameters
    ----------
    bundle : Bundle
    sample : Sample
    n : int

    Returns
    -------
    tuple of SimilarCase
        Most similar first; empty if the model kept none.
    """
    kept = bundle.evidence.training_cases
    if kept is None:
        return ()
    unit = embed_samples(bundle, [sample]).unit
    found = kept.nearest({name: vectors[0] for name, vectors in unit.items() if name in kept.embeddings}, n=n)
    return tuple(SimilarCase(one.case_key, one.labels, one.similarity) for one in found)
