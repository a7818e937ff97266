from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from medfuse.config import RunConfig
from medfuse.data import Case
from medfuse.training import Fit, split_cases
from medfuse.training.parts import Parts
from pipelines.retrieval import (
    CCA,
    DIRECTIONS,
    MODELS,
    UNALIGNED,
    ZERO_SHOT,
    figures_of,
    patients_of,
    rank_with,
    rank_without_learning,
    table_path,
    with_both,
    write,
)


@pytest.fixture
def parts(toy_config: RunConfig, toy_cases: Sequence[Case]) -> Parts:
    found = split_cases(toy_cases, toy_config.data, seed=0)
    assert len(with_both(found).train) < len(found.train)
    return with_both(found)


@pytest.fixture
def table(toy_fit: Fit, toy_config: RunConfig, parts: Parts) -> pd.DataFrame:
    tables = [rank_without_learning(toy_config, parts), rank_with(toy_fit.bundle, parts, name=UNALIGNED)]
    return pd.concat(tables, ignore_index=True)


def test_every_test_case_is_asked_for_once_a_model_and_direction(table: pd.DataFrame, parts: Parts) -> None:
    ranked = table[table["metric"] != ZERO_SHOT]
    counts = ranked.groupby(["model", "metric", "direction"]).size()
    assert set(counts) == {len(parts.test)}
    models = {CCA, UNALIGNED, *(f"{UNALIGNED}, then {m}" for m in ("least_squares", "ridge", "procrustes", "cca"))}
    assert set(ranked["model"]) == models
    assert (ranked["better"] + ranked["tied"] < ranked["n_gallery"]).all()
    assert len(table[table["metric"] == ZERO_SHOT]) == len(parts.test)


def test_the_record_holds_figures_chance_and_baseline_and_names_no_patient(
    table: pd.DataFrame, toy_config: RunConfig, parts: Parts, tmp_path: Path
) -> None:
    write(tmp_path, table, toy_config, data_digest="abc")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    found = metrics[UNALIGNED]["cosine"][DIRECTIONS[0]]
    for depth in (1, 5, 10):
        figure = found[f"recall_at_{depth}"]
        assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
        assert found[f"chance_recall_at_{depth}"] == pytest.approx(min(1, depth / len(parts.test)))
        assert found[f"recall_at_{depth}_over_baseline"]["n"] == len(parts.test)
    assert metrics[UNALIGNED][ZERO_SHOT]["auroc"]["n"] == len(parts.test)
    page = (tmp_path / "report.md").read_text()
    assert page.count("\n| chance |") == 2 and f"\n| {UNALIGNED} | euclidean |" in page
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["command"] == "make retrieval" and run["data_digest"] == "abc"
    written = page + json.dumps(metrics) + json.dumps(run)
    assert not any(case.patient_id in written or case.id.study_key in written for case in parts.test)


def test_a_patient_keeps_its_number_and_no_name(parts: Parts) -> None:
    numbers = patients_of(parts.test)
    assert len(set(numbers)) == len({case.patient_id for case in parts.test})
    assert pd.Series(numbers).groupby([case.patient_id for case in parts.test]).nunique().eq(1).all()


def test_a_model_that_finds_everything_is_told_from_cca() -> None:
    rows = {"metric": "cosine", "patient": [str(n) for n in range(40)], "tied": 0.0, "n_gallery": 40.0}
    tables = [
        pd.DataFrame({"model": model, "direction": direction, "better": better, **rows})
        for model, better in ((CCA, [float(n) for n in range(40)]), ("record", 0.0))
        for direction in DIRECTIONS
    ]
    figures = figures_of(pd.concat(tables, ignore_index=True))["record"]["cosine"][DIRECTIONS[1]]
    assert figures["recall_at_1"]["value"] == 1.0
    assert figures["recall_at_10_over_baseline"]["difference"] == pytest.approx(0.75)


def test_another_configuration_keeps_its_ranks_elsewhere(tmp_path: Path) -> None:
    places = {table_path(tmp_path, (), name, 0).parent for name in MODELS}
    assert len(places) == len(MODELS)
    assert table_path(tmp_path, ("optim.epochs=1",), "record", 0).parent not in places
