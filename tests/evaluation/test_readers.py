import math

import numpy as np
import pytest

from medfuse.errors import DataError, LabelError
from medfuse.evaluation import auroc, reader_agreement
from medfuse.evaluation.readers import krippendorff_alpha

# Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section D: 4 observers of 12 units, 0 where missing.
EXAMPLE = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ],
    dtype=float,
).T
EXAMPLE[EXAMPLE == 0] = np.nan


def simulated(n, seed, *, noise=1.0, readers=4):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n)
    readings = np.clip(np.rint(3 + truth[:, None] + noise * rng.normal(size=(n, readers))), 1, 5)
    return truth, readings


@pytest.mark.parametrize(("scale", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_the_textbook_s(scale, published):
    assert krippendorff_alpha(EXAMPLE, scale=scale) == pytest.approx(published, abs=5e-4)


def test_alpha_is_one_where_readers_agree_and_none_where_all_say_the_same():
    assert krippendorff_alpha([[1, 1], [4, 4], [2, 2]]) == 1
    assert math.isnan(krippendorff_alpha([[3, 3], [3, 3]]))
    assert math.isnan(krippendorff_alpha([[3, np.nan], [np.nan, 2]]))


def test_ceiling_is_each_reader_against_the_mean_of_the_others():
    _, readings = simulated(300, 0)
    found = reader_agreement(readings, middle=3)
    areas = []
    for reader in range(4):
        mean = np.delete(readings, reader, axis=1).mean(axis=1)
        known = mean != 3
        areas.append(auroc(mean[known] > 3, readings[known, reader]).value)
    assert found.ceiling.value == pytest.approx(np.mean(areas))
    assert found.ceiling.low < found.ceiling.value < found.ceiling.high
    assert (found.n_readers, found.n, found.model) == (4, 300, None)


def test_noisier_readers_agree_less_and_lower_the_ceiling():
    clear, noisy = (reader_agreement(simulated(300, 1, noise=noise)[1], middle=3) for noise in (0.4, 1.5))
    assert clear.alpha.low > noisy.alpha.high
    assert clear.ceiling.low > noisy.ceiling.high


def test_a_model_that_knows_the_truth_passes_a_single_reader_on_the_same_labels():
    truth, readings = simulated(400, 2)
    found = reader_agreement(readings, middle=3, model=truth)
    assert found.model.value > found.ceiling.value
    reader_like = truth + np.random.default_rng(3).normal(size=400)
    assert reader_agreement(readings, middle=3, model=reader_like).model.value == pytest.approx(
        found.ceiling.value, abs=0.03
    )


def test_interval_of_the_ceiling_agrees_with_a_bootstrap_of_cases():
    _, readings = simulated(120, 4)
    found = reader_agreement(readings, middle=3).ceiling
    rng = np.random.default_rng(5)
    drawn = [reader_agreement(readings[rng.integers(0, 120, 120)], middle=3).ceiling.value for _ in range(40)]
    assert (found.high - found.low) / 3.92 == pytest.approx(np.std(drawn), rel=0.4)


def test_readings_may_be_missing_and_patients_repeat():
    _, readings = simulated(150, 6)
    readings[np.random.default_rng(7).random(readings.shape) < 0.3] = np.nan
    naive = reader_agreement(np.repeat(readings, 3, axis=0), middle=3)
    honest = reader_agreement(np.repeat(readings, 3, axis=0), middle=3, clusters=np.repeat(np.arange(150), 3))
    assert honest.ceiling.value == pytest.approx(naive.ceiling.value)
    for name in ("alpha", "ceiling"):
        a, b = getattr(honest, name), getattr(naive, name)
        assert (a.high - a.low) / (b.high - b.low) == pytest.approx(np.sqrt(3), rel=0.15)
        assert "patient" in a.method


def test_what_is_no_table_of_readers_is_refused():
    for readings in ([[1], [2]], [1, 2, 3], [[1, np.inf], [2, 3]]):
        with pytest.raises(DataError, match="readings"):
            reader_agreement(readings, middle=3)
    with pytest.raises(LabelError, match="no reader"):
        reader_agreement([[1, 2], [2, 1]], middle=3)
