"""What the page on scoring tells its readers to run does what it says."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from medfuse.errors import DataError
from medfuse.inference import Predictor
from medfuse.io import Pseudonymizer
from medfuse.scoring import score

duckdb = pytest.importorskip("duckdb")
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "scoring.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def parts(toy: Any, toy_predictor: Predictor, names: Pseudonymizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from dataclasses import replace

    out = tmp_path_factory.mktemp("scored") / "out"
    refused = replace(toy.entries[0], study_uid="9.9", refusal=DataError("series", "found a gap", expected="none"))
    score([*toy.entries[-6:], refused], predictor=toy_predictor, out=out, pseudonymizer=names)
    return out / "predictions"


def test_each_question_is_answered_as_pandas_answers_it(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(parts)
    table = pd.concat([pd.read_parquet(path) for path in sorted(parts.glob("part-*.parquet"))])
    scored = table[table["status"] == "scored"]
    statuses, refusals, likeliest, flags, histogram = (duckdb.sql(query).fetchall() for query in blocks("sql"))
    assert dict(statuses) == dict(Counter(table["status"])) == {"scored": 6, "refused": 1}
    assert refusals == [("read", "series: found a gap; expected none", 1)]
    clean = scored[scored["flags"] == ""].sort_values("probability_malignancy", ascending=False)
    assert [row[2] for row in likeliest] == clean["probability_malignancy"].head(20).tolist()
    assert dict(flags) == dict(Counter(flag for text in scored["flags"] if text for flag in text.split("; ")))
    assert sum(histogram[0][0].values()) == len(scored)


def test_the_job_for_kubernetes_is_a_manifest() -> None:
    [job] = [yaml.safe_load(text) for text in blocks("yaml")]
    assert job["spec"]["completionMode"] == "Indexed"
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert f"--num-parts {job['spec']['completions']} " in container["args"][0]
