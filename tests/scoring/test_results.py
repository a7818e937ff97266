"""What is told of a results folder: status, exports, plan, memory of its arguments, summary page."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from medfuse.errors import DataError, UsageError
from medfuse.inference import Predictor
from medfuse.io import Pseudonymizer, StudyEntry
from medfuse.scoring import Ledger, ScoreOptions, export_results, plan_scoring, run_status, score
from medfuse.scoring.records import RunArguments, finished_run, model_id_of, recall_arguments, remember_arguments
from medfuse.scoring.summary import scoring_figures


@pytest.fixture
def studies(toy: Any) -> list[StudyEntry]:
    refused = replace(toy.entries[0], study_uid="9.9", refusal=DataError("series", "found a gap", expected="none"))
    return [*toy.entries[-5:], refused]


@pytest.fixture
def out(studies: list[StudyEntry], toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    options = ScoreOptions(source="abc")
    score(studies, predictor=toy_predictor, out=folder, pseudonymizer=names, options=options)
    return folder


def table_of(out: Path) -> pd.DataFrame:
    return pd.concat(pd.read_parquet(part) for part in (out / "predictions").glob("part-*.parquet"))


def test_status_of_a_finished_run_counts_studies_cases_reasons_and_flags(out: Path) -> None:
    status = run_status(out)
    assert (status.state, status.n_studies, status.n_done, status.n_scored, status.n_refused) == (
        "finished",
        6,
        6,
        5,
        1,
    )
    assert status.reasons == (("series: found a gap; expected none", 1),)
    flags = table_of(out)["flags"]
    assert dict(status.flags)["missing report"] == sum("missing report" in text for text in flags) == 1
    assert "finished: 6 studies done of 6, 0 left" in status.lines()[0]


def test_status_tells_a_running_run_from_a_stopped_one(out: Path) -> None:
    identity = json.loads((out / "run.json").read_text())["identity"]
    with Ledger(out, identity=identity) as ledger:
        ledger.write_run({"state": "running", "studies": 10})
        assert run_status(out).state == "running"
    status = run_status(out)
    assert status.state == "stopped"
    assert "4 left" in status.lines()[0]


def test_status_of_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found no run"):
        run_status(tmp_path)


def test_a_csv_has_every_row_and_no_cell_that_a_spreadsheet_would_run(out: Path, tmp_path: Path) -> None:
    identity = json.loads((out / "run.json").read_text())["identity"]
    row = table_of(out).iloc[0].to_dict() | {"study_key": "S1", "lesion_id": "=HYPERLINK(1)"}
    with Ledger(out, identity=identity) as ledger:
        ledger.add("S1", [row])
        ledger.flush()
    assert export_results(out, tmp_path / "new" / "all.csv") == 7
    with (tmp_path / "new" / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    assert {row["lesion_id"] for row in rows} == {"1", "whole", "'=HYPERLINK(1)"}
    refused = next(row for row in rows if row["status"] == "refused")
    assert refused["probability_malignancy"] == ""
    scored = {row["study_key"]: row["probability_malignancy"] for row in rows if row["status"] == "scored"}
    expected = table_of(out).set_index("study_key")["probability_malignancy"].dropna()
    assert {key: float(value) for key, value in scored.items()} == expected.to_dict()


def test_jsonl_is_strict_json(out: Path, tmp_path: Path) -> None:
    export_results(out, tmp_path / "all.jsonl")
    lines = [json.loads(line, parse_constant=pytest.fail) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    assert sum(line["probability_malignancy"] is None for line in lines) == 1


@pytest.mark.parametrize(("name", "message"), [("x.xlsx", "expected .csv or .jsonl"), ("x", "no suffix")])
def test_another_format_is_refused(out: Path, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        export_results(out, tmp_path / name)


def test_a_plan_measures_and_writes_nothing(
    studies: list[StudyEntry], out: Path, toy: Any, toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    more = [*studies, *toy.entries[:12]]
    before = sorted(tmp_path.rglob("*"))
    options = ScoreOptions(workers=2)
    plan = plan_scoring(more, predictor=toy_predictor, out=out, pseudonymizer=names, options=options)
    assert (plan.n_studies, plan.n_done, plan.n_waiting, plan.n_measured) == (18, 6, 12, 8)
    assert plan.seconds_a_study > 0
    assert plan.hours == pytest.approx(12 * plan.seconds_a_study / 2 / 3600)
    assert 0 < plan.disk_mb < 1
    assert sorted(tmp_path.rglob("*")) == before
    new = plan_scoring(more, predictor=toy_predictor, out=tmp_path / "new", pseudonymizer=names, options=options)
    assert (new.n_done, new.n_waiting) == (0, 18)
    assert not (tmp_path / "new").exists()


def test_the_figures_of_the_summary_are_those_of_the_table(out: Path) -> None:
    figures, table = scoring_figures(out), table_of(out)
    assert (figures.n_studies, figures.n_scored, figures.n_refused) == (6, 5, 1)
    assert sum(figures.distributions["probability_malignancy"]) == 5
    expected = table["probability_image_malignancy"].dropna()
    assert sum(figures.distributions["probability_image_malignancy"]) == len(expected)
    last_half = sum(figures.distributions["probability_image_malignancy"][10:])
    assert last_half == (expected >= 0.5).sum()
    assert figures.refusals == {("read", "series: found a gap; expected none"): 1}
    page = (out / "summary.html").read_text()
    assert "<script" not in page
    assert "series: found a gap" in page
    assert not any(key in page for key in table["study_key"])


def test_a_finished_run_is_known_by_its_identity_and_its_input(out: Path, toy_predictor: Predictor) -> None:
    identity = {"model_id": toy_predictor.bundle.model_id}
    assert finished_run(out, identity=identity, source="abc") == (5, 1, 0)
    assert finished_run(out, identity=identity, source="other") is None
    assert finished_run(out, identity={"model_id": "other"}, source="abc") is None
    assert finished_run(out.parent / "absent", identity=identity, source="abc") is None
    record = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**record, "state": "running"}))
    assert finished_run(out, identity=identity, source="abc") is None


def test_the_id_of_a_model_is_read_without_loading_it(toy_bundle: Path, toy_predictor: Predictor) -> None:
    assert model_id_of(str(toy_bundle)) == toy_predictor.bundle.model_id


def test_what_a_run_was_made_from_is_remembered_outside_of_it(out: Path, tmp_path: Path) -> None:
    arguments = RunArguments(str(tmp_path / "SMITH"), "model", rois="rois.csv")
    remember_arguments(out, arguments)
    assert recall_arguments(out) == arguments
    assert not any(b"SMITH" in path.read_bytes() for path in out.rglob("*") if path.is_file())
    with pytest.raises(UsageError, match="found no memory of that run here"):
        recall_arguments(tmp_path / "other")
