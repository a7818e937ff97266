import pytest

from medfuse.reporting import words
from medfuse.types import Comparison


def difference(low, high, p=0.01):
    return Comparison("auroc", (low + high) / 2, low, high, p, 100, "paired DeLong 95%")


@pytest.mark.parametrize(
    ("low", "high", "answer", "phrase"),
    [
        (0.01, 0.05, "Yes", "higher by 0.030 (95% interval 0.010 to 0.050"),
        (-0.05, -0.01, "No", "lower by 0.030 (95% interval 0.010 to 0.050"),
        (-0.01, 0.05, "Not shown", "+0.020 (95% interval −0.010 to 0.050"),
        (0.0, 0.0, "Not shown", "differs by 0.000"),
    ],
)
def test_the_interval_alone_decides_the_words(low, high, answer, phrase):
    assert words.answer(difference(low, high)) == answer
    assert phrase in words.whether_it_helps(difference(low, high), level=0.95)


def test_tiny_p_values_are_not_printed_as_zero():
    assert "p < 0.001" in words.whether_it_helps(difference(0.01, 0.02, p=1e-30), level=0.95)


def test_plain_counts_never_say_none_or_all():
    said = {words.in_plain_counts(k / 1000) for k in range(1001)}
    assert not said & {"about 0 in 10", "about 0 in 100", "about 10 in 10", "about 100 in 100"}
