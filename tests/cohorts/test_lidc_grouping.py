import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist, squareform

from medfuse.cohorts.lidc_grouping import group_outlines

points = st.lists(st.tuples(*[st.integers(0, 12)] * 3), min_size=1, max_size=6)


def as_outlines(lists):
    return [np.array(p, dtype=np.float64) for p in lists]


@settings(max_examples=60, deadline=None)
@given(st.lists(points, min_size=2, max_size=9), st.floats(0.5, 6))
def test_without_a_size_limit_groups_equal_scipys_single_linkage(lists, tolerance):
    outlines = as_outlines(lists)
    distance = np.array([[cdist(a, b).min() for b in outlines] for a in outlines])
    np.fill_diagonal(distance, 0)
    clusters = fcluster(linkage(squareform(distance), "single"), tolerance, criterion="distance")
    expected = sorted(np.flatnonzero(clusters == c).tolist() for c in set(clusters))
    assert group_outlines(outlines, tolerance=tolerance, most=99) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(points, max_size=9), st.floats(0.5, 6))
def test_no_group_is_too_large_and_no_outline_is_in_two(lists, tolerance):
    groups = group_outlines(as_outlines(lists), tolerance=tolerance, most=3)
    members = [i for group in groups for i in group]
    assert all(len(group) <= 3 for group in groups)
    assert len(members) == len(set(members))


def test_too_large_group_is_split_where_it_is_widest():
    outlines = as_outlines([[(x, 0, 0)] for x in (0.0, 0.1, 0.2, 2.2, 2.3, 2.4)])
    assert group_outlines(outlines, tolerance=3.0, most=4) == [[0, 1, 2], [3, 4, 5]]


def test_touching_outlines_beyond_the_limit_are_left_out():
    outlines = as_outlines([[(0, 0, 0)]] * 5 + [[(50, 0, 0)]])
    assert group_outlines(outlines, tolerance=3.0, most=4) == [[5]]


def test_distance_equal_to_the_tolerance_joins():
    outlines = as_outlines([[(0, 0, 0)], [(2, 0, 0)], [(4.01, 0, 0)]])
    assert group_outlines(outlines, tolerance=2.0, most=4) == [[0, 1], [2]]
