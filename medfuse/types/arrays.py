"""Names for the arrays and words that the nouns are made of."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Slices", "Status", "Unit"]

Array = NDArray[np.float64]
Unit = Literal["HU", "arbitrary"]
Status = Literal["present", "absent", "uncertain", "historical"]
Slices = tuple[slice, slice, slice]
"""A part of a volume, along I, J and K."""
