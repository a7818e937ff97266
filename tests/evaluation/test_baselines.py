import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medfuse.errors import DataError, LabelError
from medfuse.evaluation import auroc, cross_fitted_logistic, prevalence_baseline


def test_equals_sklearns_own_cross_fit():
    rng = np.random.default_rng(0)
    x, y, folds = rng.normal(size=(120, 3)), rng.random(120) < 0.5, np.arange(120) % 4
    splits = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(4)]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    theirs = cross_val_predict(model, x, y, cv=splits, method="predict_proba")[:, 1]
    assert np.allclose(cross_fitted_logistic(x, y, folds), theirs, atol=1e-12)


def test_a_label_does_not_change_its_own_prediction():
    rng = np.random.default_rng(1)
    x, y, folds = rng.normal(size=60), rng.random(60) < 0.5, np.arange(60) % 3
    turned = y.copy()
    turned[0] = not turned[0]
    before, after = cross_fitted_logistic(x, y, folds), cross_fitted_logistic(x, turned, folds)
    assert before[0] == after[0]
    assert not np.allclose(before[folds != 0], after[folds != 0])


def test_prevalence_ranks_nothing():
    labels = [0, 1, 0, 0, 1]
    assert auroc(labels, prevalence_baseline(labels)).value == 0.5


def test_wrong_input_is_refused():
    with pytest.raises(LabelError, match="two or more folds"):
        cross_fitted_logistic([1, 2, 3], [0, 1, 1], [0, 0, 0])
    with pytest.raises(DataError, match="features"):
        cross_fitted_logistic([1, np.nan, 3], [0, 1, 1], [0, 1, 1])
