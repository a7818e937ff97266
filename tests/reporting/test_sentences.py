import math

import pytest

from medfuse.reporting.catalogue import open_catalogue
from medfuse.reporting.sentences import Sentences
from medfuse.types import Comparison, Estimate

WORDS = Sentences(open_catalogue("en"))


def difference(low, high, p=0.01):
    return Comparison("auroc", (low + high) / 2, low, high, p, 100, "paired DeLong 95%")


@pytest.mark.parametrize(
    ("low", "high", "answer", "phrase"),
    [
        (0.01, 0.05, "yes", "higher by 0.030 (95% interval 0.010 to 0.050"),
        (-0.05, -0.01, "no", "lower by 0.030 (95% interval 0.010 to 0.050"),
        (-0.01, 0.05, "open", "+0.020 (95% interval −0.010 to 0.050"),
        (0.0, 0.0, "open", "differs by 0.000"),
    ],
)
def test_the_interval_alone_decides_the_words(low, high, answer, phrase):
    assert WORDS.answer(difference(low, high)) == answer
    assert phrase in WORDS.difference(difference(low, high))


def test_tiny_p_values_are_not_printed_as_zero():
    assert "p < 0.001" in WORDS.difference(difference(0.01, 0.02, p=1e-30))
    assert [WORDS.p(value) for value in (0.0312, 0.31, 0.9996)] == ["p = 0.031", "p = 0.31", "p = 1.00"]


def test_a_figure_that_is_not_defined_is_said_to_be_so():
    found = Estimate("ppv", math.nan, 0.0, 1.0, 9, 3, "undefined: there is no such case")
    assert WORDS.estimate(found) == WORDS.p_alone(math.nan) == "not defined"


def test_conditions_are_named_as_a_reader_knows_them_and_runs_as_they_are():
    assert WORDS.condition("fused") == "Image and report"
    assert WORDS.condition("fused", among=["fused", "image", "table"]) == "Image and table"
    assert WORDS.condition("baseline_hand_made_shape") == "Hand made shape"
    assert Sentences(open_catalogue("en"), names=["run_7", "image"]).condition("run_7") == "run_7"
    assert Sentences(open_catalogue("zh")).condition("image") == "仅影像"
