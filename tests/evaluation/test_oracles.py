"""Figures against other libraries, whose answers `oracles/write_oracles.py` has written down."""

import json
from pathlib import Path

import numpy as np
import pytest

from medfuse.evaluation import auroc, decision_curve, delong_test, npv, ppv, sensitivity, specificity

SAID = json.loads((Path(__file__).parent / "oracles" / "oracles.json").read_text())
LABEL, A, B = (np.array(SAID[name]) for name in ("label", "a", "b"))
CALLED = A >= 0.5


def test_areas_and_their_plain_intervals_are_those_of_mlstatkit():
    for scores, area, interval in zip((A, B), SAID["MLstatkit"]["areas"], SAID["MLstatkit"]["intervals"], strict=True):
        found = auroc(LABEL, scores, method="delong")
        assert [found.value, found.low, found.high] == pytest.approx([area, *interval], abs=1e-9)


def test_the_paired_test_is_that_of_mlstatkit():
    found = delong_test(LABEL, A, B)
    first, second = SAID["MLstatkit"]["areas"]
    assert found.difference == pytest.approx(first - second, abs=1e-12)
    assert found.p_value == pytest.approx(SAID["MLstatkit"]["p"], rel=1e-9)


def test_the_plain_interval_is_that_of_confidenceinterval():
    found = auroc(LABEL, A, method="delong")
    assert [found.value, found.low, found.high] == pytest.approx(SAID["confidenceinterval"]["area"], abs=1e-7)


@pytest.mark.parametrize(("figure", "theirs"), [(sensitivity, "tpr"), (specificity, "tnr"), (ppv, "ppv"), (npv, "npv")])
def test_wilson_intervals_are_those_of_confidenceinterval(figure, theirs):
    found = figure(LABEL, CALLED)
    # It divides by the count plus 1e-7.
    assert [found.value, found.low, found.high] == pytest.approx(SAID["confidenceinterval"]["wilson"][theirs], abs=1e-6)


def test_net_benefit_is_that_of_dcurves():
    curve = decision_curve(LABEL, A, thresholds=SAID["dcurves"]["thresholds"])
    assert curve.net_benefit == pytest.approx(SAID["dcurves"]["a"], abs=1e-12)
    assert curve.treat_all == pytest.approx(SAID["dcurves"]["all"], abs=1e-12)
