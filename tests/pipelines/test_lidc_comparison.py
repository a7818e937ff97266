from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medfuse.config import RunConfig
from medfuse.evaluation import auroc, compare_areas
from medfuse.reporting import methods_page, missing_reports_svg
from medfuse.training import compare, kept_predictions
from medfuse.training.comparing import Comparison
from pipelines.lidc_comparison import (
    Facts,
    answers,
    best_of,
    everything_known,
    final_grid,
    final_runs,
    judge,
    rows_of,
    without_report,
    write,
)

FINALISTS = ["a", "b"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, toy_config: RunConfig, toy: Any) -> tuple[Path, Comparison]:
    optim = toy_config.optim.model_copy(update={"epochs": 2})
    config = toy_config.model_copy(update={"optim": optim})
    late = config.model.model_copy(update={"fusion": {"name": "late"}})
    runs = final_runs({"a": config, "b": config.model_copy(update={"model": late})}, FINALISTS, reference="a")
    assert [run.model.modalities for run in runs.values()][:2] == [("image",), ("text",)]
    grid = final_grid(runs).model_copy(update={"folds": (0, 1)})
    out = tmp_path_factory.mktemp("finalists")
    return out, compare(grid, runs, out=out, manifest=toy.manifest, workers=2)


@pytest.fixture(scope="module")
def judged(compared: tuple[Path, Comparison]) -> dict[str, Any]:
    cases = answers(compared[0], ("image", "text", *FINALISTS))
    sizes = pd.Series(np.random.default_rng(0).normal(size=len(cases.labels)), index=cases.probabilities.index)
    return judge(compared[0], FINALISTS, facts=Facts(sizes, 0.25, sizes.to_frame()))


@pytest.mark.slow
def test_a_lift_is_the_finalist_less_the_better_single_modality(
    compared: tuple[Path, Comparison], judged: dict[str, Any]
) -> None:
    cases = answers(compared[0], ("image", "text", *FINALISTS))
    areas = {name: auroc(cases.labels, cases.probabilities[name]).value for name in ("image", "text", *FINALISTS)}
    for name in FINALISTS:
        found = judged["lift"][name]
        assert found["better_single"] == max(("image", "text"), key=areas.__getitem__)
        assert found["difference"] == pytest.approx(areas[name] - max(areas["image"], areas["text"]))


@pytest.mark.slow
def test_everything_known_is_a_regression_out_of_fold(
    compared: tuple[Path, Comparison], judged: dict[str, Any]
) -> None:
    cases = answers(compared[0], ("image", "text", *FINALISTS))
    assert everything_known(cases, pd.DataFrame({"y": cases.labels}, index=cases.probabilities.index))["value"] == 1.0
    assert judged["everything"]["n"] == len(cases.labels)


@pytest.mark.slow
def test_the_curve_runs_from_the_fused_answers_to_those_without_the_report(
    compared: tuple[Path, Comparison], judged: dict[str, Any]
) -> None:
    cases = answers(compared[0], ("image", "text", *FINALISTS))
    for name in FINALISTS:
        curve = judged["missing_reports"][name]
        for point, column in ((curve[0], name), (curve[-1], without_report(name))):
            assert point["area"]["value"] == pytest.approx(auroc(cases.labels, cases.probabilities[column]).value)
    kept = kept_predictions(compared[0], "a", seed=0)
    own = kept[(kept["split"] == "test") & (kept["condition"] == "image") & (kept["class"] == "positive")]
    expected = own.set_index("case_id").loc[cases.probabilities.index, "probability"]
    np.testing.assert_array_equal(cases.probabilities[without_report("a")], expected)


def test_finalists_are_the_largest_areas_and_no_baseline() -> None:
    labels = [0, 0, 0, 1, 1, 1]
    scores: dict[str, Any] = {f"m{n}": [[0, 1, 2, 3 - n, 4, 5]] for n in range(6)} | {
        "baseline_size": [[0, 0, 0, 1, 1, 1]]
    }
    models = tuple(compare_areas(labels, scores, reference="m0"))
    assert best_of(Comparison(models, pd.DataFrame(), 6, 3, 6, ())) == ["m0", "m1", "m2", "m3", "m4"]


@pytest.mark.slow
def test_the_record_says_what_was_found(
    compared: tuple[Path, Comparison], judged: dict[str, Any], toy_config: RunConfig, tmp_path: Path
) -> None:
    rows = rows_of(compared[1])
    found = {"methods": [row for row in rows if row["run"] in FINALISTS], "finalists": FINALISTS}
    found["methods"][0] |= {"difference": None}
    found |= {size: {"models": rows, **judged} for size in ("normalise", "keep")}
    write(tmp_path, found, toy_config, {"normalise": "abc"})
    page = (tmp_path / "README.md").read_text()
    lift = judged["lift"]["a"]
    assert (
        f"{lift['auroc']['value']:.3f}" in page
        and f"{lift['difference']:+.3f}" in page
        and "25% of the variance" in page
    )
    assert json.loads((tmp_path / "metrics.json").read_text())["finalists"] == FINALISTS
    assert methods_page(found, title="t") == methods_page(found, title="t")
    assert missing_reports_svg(found) == missing_reports_svg(found)
    assert (tmp_path / "missing_reports.svg").read_bytes().startswith(b"<?xml")
