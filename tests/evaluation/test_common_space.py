from __future__ import annotations

import numpy as np
import pytest

from medfuse.evaluation import find_ranks, into_common_space, similarity
from medfuse.evaluation.common_space import METHODS, Pair


def cases(n: int, *, size: int, noise: float, seed: int = 0) -> list[Pair]:
    """Three parts of cases whose reports are a rotation of their images, away from the origin, with noise."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(n, size)) + 5
    turn, _ = np.linalg.qr(rng.normal(size=(size, size)))
    reports = (images - 5) @ turn + noise * rng.normal(size=(n, size)) - 3
    return [(images[part], reports[part]) for part in (slice(n // 2), slice(n // 2, 3 * n // 4), slice(3 * n // 4, n))]


def recall(pair: Pair) -> float:
    return float(find_ranks(similarity(*pair, metric="cosine")).hits(1).mean())


@pytest.mark.parametrize("method", METHODS)
def test_a_linear_relation_is_found_on_cases_that_were_not_fitted(method):
    train, validation, test = cases(400, size=8, noise=0.1)
    assert recall(into_common_space(method, train, validation, test)) > 0.95
    shuffled = (train[0], np.random.default_rng(0).permutation(train[1]))
    assert recall(into_common_space(method, shuffled, validation, test)) < 0.15


@pytest.mark.parametrize("method", METHODS)
def test_the_test_cases_decide_nothing(method):
    train, validation, test = cases(120, size=6, noise=0.5)
    together = into_common_space(method, train, validation, test)
    alone = into_common_space(method, train, validation, (test[0][:1], test[1][:1]))
    for part, first in zip(together, alone, strict=True):
        np.testing.assert_allclose(part[:1], first, atol=1e-9)


def test_units_of_a_column_do_not_matter_to_cca_and_constant_columns_do_no_harm():
    parts = cases(200, size=6, noise=0.2)
    units = np.array([1e3, 1e-3, 1, 1, 50, 0])  # the last one tells nothing
    scaled = [(images * units, reports) for images, reports in parts]
    known = [(images[:, :5], reports) for images, reports in parts]
    assert recall(into_common_space("cca", *scaled)) == pytest.approx(
        recall(into_common_space("cca", *known)), abs=0.05
    )
    assert recall(into_common_space("cca", *scaled)) > 0.5
