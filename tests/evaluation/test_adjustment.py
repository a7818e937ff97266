import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medfuse.errors import LabelError
from medfuse.evaluation import auroc
from medfuse.evaluation.adjustment import adjust

RNG = np.random.default_rng(1)
SIZE = RNG.normal(size=400)
LABELS = (SIZE + RNG.normal(size=400) > 0).astype(int)
FOLDS = np.arange(400) % 5


def test_a_model_that_tells_size_alone_adds_nothing() -> None:
    told = 1 / (1 + np.exp(-2 * SIZE))
    nothing = adjust(LABELS, np.full(400, 0.5), SIZE, FOLDS)
    assert auroc(LABELS, adjust(LABELS, told, SIZE, FOLDS)).value == pytest.approx(
        auroc(LABELS, nothing).value, abs=1e-3
    )


def test_each_fold_is_answered_by_a_fit_on_the_others() -> None:
    probability = 1 / (1 + np.exp(-(LABELS + RNG.normal(size=400))))
    columns = np.column_stack([np.log(probability / (1 - probability)), SIZE])
    model = make_pipeline(StandardScaler(), LogisticRegression())
    known = cross_val_predict(model, columns, LABELS, cv=PredefinedSplit(FOLDS), method="predict_proba")[:, 1]
    np.testing.assert_allclose(adjust(LABELS, probability, SIZE, FOLDS), known, atol=1e-9)


def test_certainty_is_no_infinite_logit() -> None:
    assert np.isfinite(adjust(LABELS, LABELS.astype(float), SIZE, FOLDS)).all()


def test_one_fold_is_refused() -> None:
    with pytest.raises(LabelError, match="two or more folds"):
        adjust(LABELS, np.full(400, 0.5), SIZE, np.zeros(400))
