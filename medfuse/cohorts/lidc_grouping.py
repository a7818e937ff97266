"""Group outlines that several readers drew of the same thing.

Source: pylidc's ``Scan.cluster_annotations``; Hancock and Magnan 2016, J. Med. Imaging 3(4) 044504.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from medfuse.types import Array

__all__ = ["group_outlines"]

# As in pylidc: a group that is too large is split at 0.9 times the distance, again and again, down to 0.1 mm.
_TOLERANCE_STEP = 0.9
_LEAST_TOLERANCE_MM = 0.1


def group_outlines(outlines: Sequence[Array], *, tolerance: float, most: int) -> list[list[int]]:
    """Group outlines that lie close together.

    Two outlines are in one group if a chain of outlines, each within the tolerance of the next, joins them. A
    group that is too large is split at ever smaller distances; one that is still too large at 0.1 mm, where
    different things touch, is left out.

    Parameters
    ----------
    outlines : sequence of ndarray, shape (n_points, 3)
        Points in mm.
    tolerance : float
        Least distance of two outlines, mm, up to which they are neighbours.
    most : int
        Largest size of a group.

    Returns
    -------
    list of list of int
        Indices of the outlines, in increasing order within and by first member between groups.

    Examples
    --------
    >>> outlines = [np.array([[x, 0.0, 0.0]]) for x in (0.0, 9.0, 1.0)]
    >>> group_outlines(outlines, tolerance=2.0, most=4)
    [[0, 2], [1]]
    """
    if not outlines:
        return []
    distance = _least_distances(outlines, tolerance)
    return sorted(_split(distance, list(range(len(outlines))), tolerance=tolerance, most=most))


def _least_distances(outlines: Sequence[Array], limit: float) -> Array:
    """Return the least distance of every two outlines, shape (n, n), mm; infinite where beyond the limit."""
    low = np.array([outline.min(axis=0) for outline in outlines])
    high = np.array([outline.max(axis=0) for outline in outlines])
    above = np.maximum(0, low[:, None] - high[None])
    gaps = np.maximum(above, above.swapaxes(0, 1))  # per axis, between bounding boxes
    near = np.argwhere(np.triu(np.linalg.norm(gaps, axis=-1) <= limit, k=1))
    trees = [cKDTree(outline) for outline in outlines]
    distance = np.full((len(outlines), len(outlines)), np.inf)
    for i, j in near:
        bound = np.nextafter(limit, np.inf)  # the tree's bound is exclusive, ours is not
        distance[i, j] = distance[j, i] = trees[i].query(outlines[j], distance_upper_bound=bound)[0].min()
    return distance


def _split(distance: Array, members: list[int], *, tolerance: float, most: int) -> list[list[int]]:
    if tolerance < _LEAST_TOLERANCE_MM:
        return []
    _, component = connected_components(distance[np.ix_(members, members)] <= tolerance, directed=False)
    groups: list[list[int]] = []
    for c in range(component.max() + 1):
        group = [member for member, own in zip(members, component, strict=True) if own == c]
        if len(group) <= most:
            groups.append(group)
        else:
            groups += _split(distance, group, tolerance=tolerance * _TOLERANCE_STEP, most=most)
    return groups
