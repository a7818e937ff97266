from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score
from sklearn.metrics.pairwise import cosine_similarity, euclidean_distances

from medfuse.errors import DataError
from medfuse.evaluation import (
    compare_recall,
    find_ranks,
    join_ranks,
    retrieval_figures,
    similarity,
    zero_shot_probabilities,
)


def vectors(n: int, seed: int, size: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, size))


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 20), m=st.integers(1, 20), seed=st.integers(0, 2**30))
def test_similarities_equal_scikit_learns(n, m, seed):
    a, b = vectors(n, seed), vectors(m, seed + 1)
    np.testing.assert_allclose(similarity(a, b, metric="cosine"), cosine_similarity(a, b), atol=1e-9)
    np.testing.assert_allclose(similarity(a, b, metric="euclidean"), -euclidean_distances(a, b), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(3, 40), seed=st.integers(0, 2**30))
def test_recall_equals_scikit_learns_top_k_accuracy(n, seed):
    likeness = np.random.default_rng(seed).permutation(n * n).reshape(n, n).astype(float)  # no ties
    ranks = find_ranks(likeness)
    for depth in (1, 2, n - 1):
        expected = top_k_accuracy_score(np.arange(n), likeness, k=depth)
        assert ranks.hits(depth).mean() == pytest.approx(expected)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 12), kinds=st.integers(1, 4), seed=st.integers(0, 2**30))
def test_ties_count_as_their_mean_over_random_orders(n, kinds, seed):
    rng = np.random.default_rng(seed)
    likeness = rng.integers(0, kinds, size=(n, n)).astype(float)
    ranks = find_ranks(likeness)
    noisy = np.stack([likeness + rng.random((n, n)) * 0.5 for _ in range(3000)])
    drawn = 1 + (noisy > np.diagonal(noisy, axis1=1, axis2=2)[..., None]).sum(axis=2)
    np.testing.assert_allclose(ranks.expected, drawn.mean(axis=0), atol=0.35)
    np.testing.assert_allclose(ranks.hits(2), (drawn <= 2).mean(axis=0), atol=0.06)


def test_reports_alike_but_for_rounding_are_ties():
    ranks = find_ranks(np.array([[0.5, 0.5 + 1e-7], [0.1, 0.9]]))
    assert ranks.tied.tolist() == [1, 0]


def test_random_embeddings_do_as_chance_says():
    n = 400
    ranks = find_ranks(similarity(vectors(n, 0), vectors(n, 1), metric="cosine"))
    figures = retrieval_figures(ranks, [f"P{k}" for k in range(n)])
    assert figures["chance_recall_at_10"] == 10 / n
    assert figures["chance_median_rank"] == (n + 1) / 2
    for name in ("recall_at_1", "recall_at_5", "recall_at_10", "median_rank"):
        found = figures[name]
        assert found.low <= figures[f"chance_{name}"] <= found.high


def test_equal_embeddings_give_chance_to_the_digit():
    figures = retrieval_figures(find_ranks(np.ones((50, 50))), [f"P{k}" for k in range(50)])
    assert figures["recall_at_5"].value == pytest.approx(figures["chance_recall_at_5"])
    assert figures["median_rank"].value == figures["chance_median_rank"]


def test_folds_are_joined_by_query_and_keep_their_own_galleries():
    parts = [find_ranks(np.eye(10)), find_ranks(-np.eye(20))]
    joined = join_ranks(parts)
    figures = retrieval_figures(joined, [f"P{k}" for k in range(30)])
    assert figures["recall_at_1"].value == pytest.approx(1 / 3)
    assert figures["chance_recall_at_5"] == pytest.approx((10 * 5 / 10 + 20 * 5 / 20) / 30)
    assert joined.n_gallery.tolist() == [10] * 10 + [20] * 20


def test_the_interval_is_that_of_a_plain_bootstrap_over_whole_patients():
    rng = np.random.default_rng(0)
    patients = [f"P{k // 4}" for k in range(80)]
    likeness = np.eye(80) * (rng.random(20) < 0.5).repeat(4) + rng.random((80, 80)) * 0.9  # patients go together
    ranks = find_ranks(likeness)
    figures = retrieval_figures(ranks, patients)
    hits, expected = ranks.hits(1).reshape(20, 4), ranks.expected.reshape(20, 4)
    draws = rng.integers(0, 20, size=(4000, 20))
    by_hand = np.quantile(hits[draws].mean(axis=(1, 2)), [0.025, 0.975])
    medians = np.quantile(np.median(expected[draws].reshape(4000, -1), axis=1), [0.025, 0.975])
    found, median = figures["recall_at_1"], figures["median_rank"]
    assert (found.low, found.high) == pytest.approx(by_hand, abs=0.051)  # one patient is 0.05
    assert (median.low, median.high) == pytest.approx(medians, abs=2)
    alone = retrieval_figures(ranks, [str(k) for k in range(80)])["recall_at_1"]
    assert found.high - found.low > 1.3 * (alone.high - alone.low)


def test_a_better_ranking_is_told_from_an_equal_one():
    rng = np.random.default_rng(0)
    noise, patients = rng.random((100, 100)), [f"P{k}" for k in range(100)]
    good, poor = find_ranks(noise + 0.5 * np.eye(100)), find_ranks(noise)
    better = compare_recall(good, poor, patients, depth=10)
    assert better.low > 0 and better.p_value < 0.01
    same = compare_recall(poor, find_ranks(rng.random((100, 100))), patients, depth=10)
    assert same.low < 0 < same.high and same.p_value > 0.05
    assert compare_recall(poor, poor, patients, depth=10).p_value == 1.0


def test_zero_shot_is_the_softmax_of_the_cosines_to_the_mean_prompts():
    images = vectors(7, 0)
    prompts = {"solid": vectors(3, 1), "part-solid": vectors(1, 2), "ground glass": vectors(2, 3)}
    found = zero_shot_probabilities(images, prompts, scale=10.0)
    unit = {name: (p / np.linalg.norm(p, axis=1, keepdims=True)).mean(axis=0) for name, p in prompts.items()}
    weights = np.exp(10 * cosine_similarity(images, np.stack(list(unit.values()))))
    np.testing.assert_allclose(
        np.stack(list(found.values()), axis=1), weights / weights.sum(axis=1, keepdims=True), atol=1e-9
    )


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(DataError, match=r"found a shape of \(2, 3\); expected \(n, n\)"):
        find_ranks(np.zeros((2, 3)))
    with pytest.raises(DataError, match="not finite"):
        find_ranks(np.full((2, 2), np.nan))
    with pytest.raises(DataError, match="found 1 patients; expected 2, one a query"):
        retrieval_figures(find_ranks(np.eye(2)), ["P1"])
    with pytest.raises(DataError, match="found rankings of other queries"):
        compare_recall(find_ranks(np.eye(2)), find_ranks(np.eye(3)), ["P1", "P2"], depth=1)
    with pytest.raises(DataError, match="found 1 classes; expected two or more"):
        zero_shot_probabilities(np.eye(2), {"solid": np.eye(2)}, scale=1.0)
