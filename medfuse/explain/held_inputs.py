"""Encode once what stays the same in every version of a case."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from medfuse.models import StudyClassifier

__all__ = ["encoded_once"]

_METHODS = ("forward", "feature_map", "token_states")
"""What the encoders of images, texts and tables are asked for by a classifier."""


@contextmanager
def encoded_once(
    members: Collection[StudyClassifier], *, moving: Collection[str], known: dict[tuple[int, str], Tensor]
) -> Iterator[None]:
    """Let the encoders of modalities that do not move read the first of the versions of a case, and say it of all.

    Parameters
    ----------
    members : collection of StudyClassifier
    moving : collection of str
        Modalities that differ between the versions.
    known : dict
        What these encoders have found, of this case and these members: they are not asked again.
    """
    held: list[nn.Module] = [
        encoder for member in members for name, encoder in member.encoders.items() if name not in moving
    ]
    try:
        for encoder in held:
            for name in _METHODS:
                if hasattr(encoder, name):
                    # An attribute of the instance hides the method of its class until it is taken away again.
                    encoder.__dict__[name] = _FirstForAll(getattr(encoder, name), known, (id(encoder), name))
        yield
    finally:
        for encoder in held:
            for name in _METHODS:
                encoder.__dict__.pop(name, None)


class _FirstForAll:
    """A method that reads the first row of each argument, once, and gives every row what it found."""

    def __init__(self, method: Any, known: dict[tuple[int, str], Tensor], key: tuple[int, str]) -> None:
        self.method, self.known, self.key = method, known, key

    def __call__(self, first: Tensor, *others: Tensor) -> Tensor:
        if self.key not in self.known:
            # What inference mode has made, no later gradient could pass by.
            with torch.inference_mode(False), torch.no_grad():
                self.known[self.key] = self.method(first[:1].clone(), *(other[:1].clone() for other in others))
        found = self.known[self.key]
        return found.expand(len(first), *found.shape[1:])
