import numpy as np
import pandas as pd
import pytest

from medfuse.evaluation import evaluate
from medfuse.reporting.catalogue import open_catalogue
from medfuse.reporting.leakage_checks import leakage_checks
from medfuse.reporting.sentences import Sentences

WORDS = Sentences(open_catalogue("en"))


def evaluation(**shifts):
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2
    rows = [
        pd.DataFrame(
            {"case_id": np.arange(80), "condition": name, "label": labels, "probability": 1 / (1 + np.exp(-x))}
        )
        for name, shift in shifts.items()
        for x in [rng.normal(size=80) + shift * labels]
    ]
    return evaluate(pd.concat(rows))


def found(name, checks):
    return next(check for check in checks if check.name == name)


def facts(**shared):
    counts = {"patients": 0, "images": 0, "texts": 0}
    pairs = {"train validation": dict.fromkeys(counts, 9), "train test": counts | shared, "validation test": counts}
    return {"shared": pairs, "parts": {"test": {"cases": 20}}}


def test_without_a_record_or_text_every_check_is_not_available():
    checks = leakage_checks(evaluation(model=1.0), None, WORDS)
    assert len(checks) == 5
    assert {check.status for check in checks} == {"unknown"}


@pytest.mark.parametrize("content", ["patients", "images", "texts"])
def test_what_the_test_part_shares_with_another_is_said(content):
    name = WORDS.say(f"leak.{content}")
    clean, planted = (leakage_checks(evaluation(model=1.0), facts(**{content: n}), WORDS) for n in (0, 5))
    assert found(name, clean).status == "clear"
    assert found(name, planted).status == "look"
    assert found(name, planted).sentence.startswith("5 ")
    assert "25%" in found(name, planted).sentence


def test_a_report_that_needs_its_label_words_is_shown_before_and_after():
    checks = leakage_checks(evaluation(text=3.0, text_masked=0.2), None, WORDS)
    check = found("Label words in the reports", checks)
    assert check.status == "look"
    assert "with label words masked 0." in check.sentence
    harmless = found("Label words in the reports", leakage_checks(evaluation(text=1.0, text_masked=1.0), None, WORDS))
    assert harmless.status == "clear"


def test_reports_of_other_cases_must_not_do_as_well_as_the_own_ones():
    honest = leakage_checks(evaluation(fused=2.5, fused_shuffled=0.0), None, WORDS)
    broken = leakage_checks(evaluation(fused=1.0, fused_shuffled=1.2), None, WORDS)
    assert [found("Reports of other cases", checks).status for checks in (honest, broken)] == ["clear", "look"]
