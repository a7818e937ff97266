import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.errors import UsageError
from medfuse.evaluation import auroc
from medfuse.evaluation.missing_modality import SHARES, drop_at_random, missing_curve

RNG = np.random.default_rng(0)
LABELS = (RNG.random(120) < 0.4).astype(int)
COMPLETE = 1 / (1 + np.exp(-(2.0 * LABELS + RNG.normal(size=120))))
WITHOUT = 1 / (1 + np.exp(-(1.0 * LABELS + RNG.normal(size=120))))


@given(st.integers(0, 40), st.floats(0, 1), st.integers(0, 3))
def test_the_share_that_is_dropped_gets_the_answer_without(n: int, share: float, seed: int) -> None:
    complete, without = np.ones(n), np.zeros(n)
    for drawn in drop_at_random(complete, without, share=share, draws=3, seed=seed):
        assert drawn.sum() == n - round(share * n)


def test_a_case_that_lacks_the_modality_anyway_keeps_its_answer_without() -> None:
    (drawn,) = drop_at_random([np.nan, 0.9], [0.2, 0.3], share=0.0)
    assert drawn.tolist() == [0.2, 0.9]


def test_the_curve_is_the_mean_of_the_draws_and_ends_at_the_model_without() -> None:
    found = missing_curve(LABELS, COMPLETE, WITHOUT, alone=WITHOUT)
    assert [point.share for point in found] == list(SHARES)
    assert found[0].area.value == pytest.approx(auroc(LABELS, COMPLETE).value)
    assert found[-1].area.value == pytest.approx(auroc(LABELS, WITHOUT).value)
    assert found[-1].against.difference == pytest.approx(0.0)
    halves = [auroc(LABELS, drawn).value for drawn in drop_at_random(COMPLETE, WITHOUT, share=0.5)]
    assert len(halves) == 20 and len(set(halves)) > 1
    assert found[5].area.value == pytest.approx(np.mean(halves))
    assert found[5].area.low < found[5].area.value < found[5].area.high


@pytest.mark.parametrize(("share", "n"), [(1.5, 2), (0.5, 3)])
def test_a_wrong_share_or_length_is_refused(share: float, n: int) -> None:
    with pytest.raises(UsageError, match="drop_at_random"):
        drop_at_random([0.1, 0.2], [0.1] * n, share=share)
