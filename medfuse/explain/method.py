"""What every way of attributing an answer offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from medfuse.errors import ConfigError
from medfuse.explain.case_logit import CaseLogit

__all__ = ["Method", "Scores", "at_least", "seeded"]

Scores = dict[str, Tensor]
"""By input: of an image (I, J, K), of text (L,), of flags (F,), of a table (columns,); all float32."""


class Method(ABC):
    """A way to say which part of a case speaks for the answer, and which against.

    Options are those of the constructor. A score above 0 speaks for the last class.

    Attributes
    ----------
    explains : tuple of str
        Inputs that it can score.
    is_complete : bool
        Whether all scores together are the difference between the case and the one without content.
    draws : bool
        Whether a seed changes its scores.
    """

    explains: ClassVar[tuple[str, ...]]
    is_complete: ClassVar[bool] = False
    draws: ClassVar[bool] = False

    def unrefined(self) -> Method:
        """Return the method for a model that has forgotten what it learnt, whose scores need not be complete."""
        return self

    @abstractmethod
    def __call__(self, case: CaseLogit, *, seed: int = 0) -> Scores:
        """Score what of a case moves, as far as the method can.

        Parameters
        ----------
        case : CaseLogit
        seed : int

        Returns
        -------
        dict of str to Tensor
            By input.

        Raises
        ------
        UsageError
            If the model is none that the method holds for.
        """


def at_least(where: str, value: float, smallest: float) -> None:
    """Refuse an option of a method that is too small.

    Raises
    ------
    ConfigError
    """
    if value < smallest:
        raise ConfigError(f"explain.{where}", f"found {value}", expected=f"{smallest} or more")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let everything that torch and NumPy draw meanwhile hang on a seed, and leave both as they were."""
    state = np.random.get_state()  # noqa: NPY002 - Captum draws from the global generator
    with torch.random.fork_rng(devices=[]):
        try:
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
