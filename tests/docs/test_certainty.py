"""The page on certainty: its Python runs, and what it says of few patients is so."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medfuse.evaluation import fit_conformal
from medfuse.inference.novelty import FALSE_ALARMS, novelty_limit
from medfuse.inference.uncertainty import COVERAGE

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "certainty.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("block", PYTHON)
def test_python_of_the_page_runs(block: str, toy_bundle: Path, toy_studies: Any) -> None:
    study = next(study for study in toy_studies if study.volumes and study.lesions[0].text)
    given: dict[str, Any] = {"study": study}
    exec(compile(block.replace('"RUN/model"', repr(str(toy_bundle))), "docs/certainty.md", "exec"), given)  # noqa: S102
    if "prediction" in given:
        assert given["prediction"].interval and given["prediction"].novelty


@pytest.mark.parametrize(("n", "is_kept"), [(18, False), (19, True)])
def test_so_many_patients_allow_a_promise_of_false_alarms(n: int, is_kept: bool) -> None:
    assert "Below 19 validation patients" in PAGE
    _, promise = novelty_limit(np.arange(1.0, n + 1), [str(i) for i in range(n)], false_alarms=FALSE_ALARMS)
    assert (promise == FALSE_ALARMS) == is_kept


@pytest.mark.parametrize(("n", "is_ruled_out"), [(8, False), (9, True)])
def test_so_many_patients_of_a_class_allow_to_rule_it_out(n: int, is_ruled_out: bool) -> None:
    assert "Below 9 patients of a class" in PAGE
    table = np.stack([np.linspace(0.1, 0.4, 2 * n), np.linspace(0.9, 0.6, 2 * n)], axis=1)
    rule = fit_conformal([0, 1] * n, table, coverage=COVERAGE, by_class=True)
    assert (max(rule.cutoffs) < 1) == is_ruled_out
