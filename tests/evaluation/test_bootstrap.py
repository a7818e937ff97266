import numpy as np
import pytest
from scipy.stats import norm

from medfuse.evaluation import bootstrap
from medfuse.evaluation.bootstrap import bootstrap_interval


def mean_of(values):
    return lambda weights: weights @ values / weights.sum(axis=1)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_of_a_mean_is_the_normal_one_at_either_end(level):
    values = np.random.default_rng(0).normal(5.0, 2.0, 200)
    low, high = bootstrap_interval(mean_of(values), np.arange(200), level=level, n_resamples=20_000)
    half = norm.ppf((1 + level) / 2) * values.std() / np.sqrt(200)
    assert values.mean() - low == pytest.approx(half, rel=0.03)
    assert high - values.mean() == pytest.approx(half, rel=0.03)


def test_whole_patients_are_drawn():
    seen = []
    bootstrap_interval(lambda w: seen.append(w) or w.sum(axis=1), np.array([0, 0, 1, 1, 1]), n_resamples=50)
    weights = np.concatenate(seen)
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 2] == weights[:, 4]).all()
    assert (weights[:, 0] + weights[:, 2] == 2).all()


@pytest.mark.parametrize("chunk", [1, 4, 40])
def test_as_many_resamples_are_drawn_as_asked_in_chunks_that_fit_and_change_nothing(monkeypatch, chunk):
    values, shapes = np.array([1.0, 2.0, 4.0, 8.0]), []
    whole = bootstrap_interval(mean_of(values), np.arange(4), n_resamples=101)
    monkeypatch.setattr(bootstrap, "CHUNK", chunk)
    mean = mean_of(values)
    parts = bootstrap_interval(lambda w: shapes.append(w.shape) or mean(w), np.arange(4), n_resamples=101)
    assert parts == whole
    assert sum(rows for rows, _ in shapes) == 101 and max(rows for rows, _ in shapes) == max(1, chunk // 4)


def test_where_resamples_leave_a_figure_undefined_the_others_tell_it():
    some = bootstrap_interval(lambda w: np.where(np.arange(len(w)) == 3, 0.25, np.nan), np.arange(4), n_resamples=9)
    none = bootstrap_interval(lambda w: np.full(len(w), np.nan), np.arange(4), n_resamples=9)
    assert some == (0.25, 0.25) and np.isnan(none).all()
