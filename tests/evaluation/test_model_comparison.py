from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from medfuse.errors import DataError
from medfuse.evaluation import auroc, compare_areas, delong_test, holm

N = 120


def drawn(seed: int = 0) -> tuple[np.ndarray, dict[str, list[np.ndarray]], np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, N)
    scores = {
        "strong": [labels * 2 + rng.normal(size=N) for _ in range(3)],
        "weak": [labels + rng.normal(size=N)],
        "chance": [rng.normal(size=N), rng.normal(size=N)],
    }
    return labels, scores, rng.integers(0, N // 2, N)


@pytest.mark.parametrize("clustered", [False, True])
def test_models_trained_once_are_compared_as_delong_does(clustered: bool) -> None:
    labels, scores, patients = drawn()
    clusters = patients if clustered else None
    alone = {name: rows[:1] for name, rows in scores.items()}
    for found in compare_areas(labels, alone, reference="weak", clusters=clusters):
        area = auroc(labels, alone[found.name][0], clusters=clusters)
        assert (found.area.value, found.area.low, found.area.high) == pytest.approx((area.value, area.low, area.high))
        assert found.area.method == area.method
        if found.against is None:
            assert found.name == "weak"
            continue
        expected = delong_test(labels, alone[found.name][0], alone["weak"][0], clusters=clusters)
        assert found.against.difference == pytest.approx(expected.difference)
        assert (found.against.low, found.against.high) == pytest.approx((expected.low, expected.high))
        assert found.against.p_value == pytest.approx(expected.p_value)


def test_the_mean_of_several_trainings_has_the_variance_of_the_bootstrap() -> None:
    labels, scores, _ = drawn(3)
    found = {one.name: one for one in compare_areas(labels, scores, reference="weak")}
    strong = found["strong"]
    assert strong.area.value == pytest.approx(np.mean([auroc(labels, row).value for row in scores["strong"]]))
    rng, differences = np.random.default_rng(1), []
    for _ in range(1000):
        rows = rng.integers(0, N, N)
        if 0 < labels[rows].sum() < N:
            areas = {
                name: np.mean([auroc(labels[rows], s[rows]).value for s in scores[name]]) for name in ("strong", "weak")
            }
            differences.append(areas["strong"] - areas["weak"])
    assert strong.against is not None
    half = (strong.against.high - strong.against.low) / 2
    assert half / norm.ppf(0.975) == pytest.approx(np.std(differences), rel=0.15)


def test_the_reference_must_be_one_of_the_models() -> None:
    labels, scores, _ = drawn()
    with pytest.raises(DataError, match=r"found no model 'week' to compare with; expected.*weak"):
        compare_areas(labels, scores, reference="week")


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_its_step_down_rule(p: list[float]) -> None:
    found = holm(p)
    assert all(a >= b for a, b in zip(found, p, strict=True))
    order = np.argsort(p, kind="stable")
    assert all(found[a] <= found[b] for a, b in pairwise(order))
    for level in (0.01, 0.05, 0.2):
        rejected = 0
        for place, k in enumerate(order):  # as Holm words it: stop at the first that is not small enough
            if p[k] > level / (len(p) - place):
                break
            rejected += 1
        assert sum(value <= level * (1 + 1e-12) for value in found) == rejected


def test_a_difference_without_a_variance_is_no_certainty():
    found = compare_areas([0, 0, 1], {"perfect": [[1, 2, 3]], "constant": [[1, 1, 1]]}, reference="constant")[0]
    assert found.against.difference == 0.5
    assert found.against.low < 0 < found.against.high and found.against.p_value > 0.05
    same = compare_areas([0, 0, 1], {"a": [[1, 2, 3]], "b": [[4, 5, 6]]}, reference="b")[0]
    assert (same.against.low, same.against.high, same.against.p_value) == (0, 0, 1)


def test_the_level_reaches_every_interval():
    scores = {"perfect": [[1, 2, 3, 4]], "other": [[1, 3, 2, 4]]}
    wide, narrow = (compare_areas([0, 0, 1, 1], scores, reference="other", level=level) for level in (0.99, 0.5))
    assert wide[0].area.low < narrow[0].area.low and wide[0].area.value == 1
