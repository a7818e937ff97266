"""What a model keeps of its training cases: where they lie in the shared space, and by what they are known again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medfuse.data.intensity import N_STEPS
from medfuse.errors import BundleError, UsageError, nearest_name
from medfuse.types import Target

__all__ = ["MAX_BYTES", "Neighbour", "TrainingCases", "fingerprint", "image_fingerprint"]

MAX_BYTES = 32 * 2**20
"""Of the embeddings that a model keeps: of more cases an even part is kept."""
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training case like another case.

    Parameters
    ----------
    case_key : str
        Keyed pseudonym.
    labels : mapping of str to str
        Class by target, where it is known.
    similarity : float
        Cosine of the angle between both cases' embeddings, the mean over the modalities that both have; 1 is the same.
    """

    case_key: str
    labels: Mapping[str, str]
    similarity: float


@dataclass(frozen=True, slots=True, eq=False)
class TrainingCases:
    """Training cases by pseudonyms, places in the shared space, and fingerprints.

    Parameters
    ----------
    case_keys : tuple of str
        Of the n cases whose embeddings are kept.
    embeddings : mapping of str to ndarray of shape (n, E), float16
        By modality, of unit length; zeros where a case lacks it.
    labels : mapping of str to ndarray of shape (n,), int16
        Class index by target; -1 where unknown.
    targets : tuple of Target
    patients, images : ndarray of int64
        Rising `fingerprint` of every training patient's pseudonym and every training image.

    Raises
    ------
    BundleError
        If the arrays do not fit each other.
    """

    case_keys: tuple[str, ...]
    embeddings: Mapping[str, NDArray[np.float16]]
    labels: Mapping[str, NDArray[np.int16]]
    targets: tuple[Target, ...]
    patients: NDArray[np.int64]
    images: NDArray[np.int64]

    def __post_init__(self) -> None:
        n = len(self.case_keys)
        fits = all(len(array) == n and array.ndim == 2 for array in self.embeddings.values())
        fits &= set(self.labels) == {target.name for target in self.targets}
        fits = fits and all(
            self.labels[target.name].shape == (n,)
            and bool(np.all((self.labels[target.name] >= UNKNOWN) & (self.labels[target.name] < len(target.classes))))
            for target in self.targets
        )
        if not fits or not all(bool(np.isfinite(array).all()) for array in self.embeddings.values()):
            raise BundleError("training cases", "found arrays that do not fit", expected="one row a case")

    def nearest(self, embeddings: Mapping[str, NDArray[np.floating]], n: int = 5) -> list[Neighbour]:
        """Return the training cases that lie nearest to a case.

        Parameters
        ----------
        embeddings : mapping of str to ndarray of shape (E,)
            By modality, of unit length, as `medfuse.inference.embed_samples` gives them; without modalities that the
            case lacks, or zeros for them.
        n : int
            How many at most.

        Returns
        -------
        list of Neighbour
            The most similar first; only cases that share a modality with the given one.

        Raises
        ------
        UsageError
            If the model has no such modality, or another size of embedding.
        """
        total = np.zeros(len(self.case_keys))
        shared = np.zeros(len(self.case_keys))
        for modality, vector in embeddings.items():
            kept = self.embeddings.get(modality)
            if kept is None:
                raise UsageError("nearest", f"found {modality!r}", expected=nearest_name(modality, self.embeddings))
            if vector.shape != kept.shape[1:]:
                raise UsageError("nearest", f"found shape {vector.shape}", expected=f"{kept.shape[1:]}")
            if vector.any():
                total += kept.astype(np.float32) @ vector.astype(np.float32)
                shared += kept.any(axis=1)
        similarity = np.where(shared > 0, total / np.maximum(shared, 1), -np.inf)
        order = np.argsort(-similarity, kind="stable")[:n]
        return [self._neighbour(row, float(similarity[row])) for row in order if shared[row]]

    def _neighbour(self, row: int, similarity: float) -> Neighbour:
        known = {t.name: int(self.labels[t.name][row]) for t in self.targets}
        labels = {t.name: t.classes[known[t.name]] for t in self.targets if known[t.name] != UNKNOWN}
        return Neighbour(self.case_keys[row], labels, similarity)

    def n_known_patients(self, patient_keys: Iterable[str]) -> int:
        """Return how many of some patients the model was trained on, by their pseudonyms of the same key."""
        return _n_shared(self.patients, {fingerprint(key.encode()) for key in patient_keys})

    def n_known_images(self, images: Iterable[Tensor]) -> int:
        """Return how many of some prepared images are, voxel by voxel, training images."""
        return sum(_n_shared(self.images, {image_fingerprint(image)}) for image in images)


def _n_shared(known: NDArray[np.int64], given: set[int]) -> int:
    return int(np.isin(np.array(sorted(given), dtype=np.int64), known).sum())


def fingerprint(content: bytes) -> int:
    """Return 64 bits by which content is known again, and nothing else is told of it.

    Examples
    --------
    >>> fingerprint(b"one") == fingerprint(b"one") != fingerprint(b"two")
    True
    """
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big", signed=True)


def image_fingerprint(image: Tensor) -> int:
    """Return the fingerprint of a prepared image, shape (C, I, J, K), in [0, 1]."""
    steps = (image * N_STEPS).round().numpy().astype(np.uint16)
    return fingerprint(str(steps.shape).encode() + steps.tobytes())


def even_part(n: int, *, bytes_each: int, at_most: int = MAX_BYTES) -> Sequence[int]:
    """Return which of n cases are kept so that they fill no more than so many bytes: all, or evenly spaced ones.

    Examples
    --------
    >>> list(even_part(4, bytes_each=2, at_most=8)), list(even_part(9, bytes_each=2, at_most=8))
    ([0, 1, 2, 3], [0, 2, 4, 6])
    """
    n_kept = min(n, max(at_most // max(bytes_each, 1), 1))
    return range(n) if n_kept == n else [row * n // n_kept for row in range(n_kept)]
