"""The tutorials do what they say, command by command, in a folder such as `make demo` leaves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytestmark = pytest.mark.slow
Follow = Callable[[str], dict[str, Any]]


def test_a_researcher_trains_compares_and_reads_the_figures(follow: Follow, reader: Path) -> None:
    given = follow("tutorial_research.md")
    assert set(given["metrics"]) >= {"fused", "image", "text", "lift"}
    assert 0 <= given["metrics"]["fused"]["auroc"]["value"] <= 1
    comparison = pd.read_csv(reader / "try" / "comparison" / "comparison.csv")
    assert set(comparison["run"]) == {"concatenation", "gated", "image"}
    assert (reader / "try" / "side_by_side" / "report.html").exists()


def test_an_engineer_scores_resumes_and_finds_the_studies_again(follow: Follow, reader: Path) -> None:
    given = follow("tutorial_archive.md")
    assert set(given["scores"]["status"]) == {"scored"}
    assert len(given["study_of"]) == given["scores"]["study_key"].nunique() == len(pd.read_csv("work/scores.csv"))
    assert list((reader / "work" / "clean").rglob("*.dcm"))


def test_a_clinician_reads_pages_and_gives_a_view(follow: Follow, reader: Path) -> None:
    follow("tutorial_reading.md")
    views = pd.read_csv(reader / "views.csv")
    assert len(views) == len(list(reader.glob("pages/*/report.html"))) == 1
    assert set(views["training_only"]) == {"yes"}
    assert (reader / "report_as_read.html").exists()


def test_an_archive_of_ones_own_becomes_a_model(follow: Follow, reader: Path) -> None:
    manifest = follow("own_archive.md")["manifest"]
    assert len(manifest) == len(pd.read_csv(reader / "demo" / "rois.csv"))
    assert manifest.groupby("patient_id")["fold"].nunique().max() == 1
    assert (reader / "own" / "evaluation" / "report.html").exists()
