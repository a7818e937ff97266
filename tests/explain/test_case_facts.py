import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medfuse.explain.case_facts import case_facts, side_of
from medfuse.explain.studies import PageOptions, explain_study
from medfuse.inference import Predictor
from medfuse.io import Pseudonymizer
from medfuse.types import Lesion, Study, Volume


def test_the_side_is_the_patient_s_whichever_way_the_voxels_run() -> None:
    rises, falls = np.diag([3.0, 3.0, 3.0, 1.0]), np.diag([-3.0, 3.0, 3.0, 1.0])
    falls[0, 3] = 297.0
    for affine in (rises, falls):
        volume = Volume(np.zeros((100, 4, 4)), affine)
        assert [side_of(Lesion("1", (x, 0.0, 0.0)), volume) for x in (10.0, 145.0, 290.0)] == ["left", "", "right"]


def test_a_narrow_image_or_an_unknown_position_has_no_side() -> None:
    narrow = Volume(np.zeros((50, 4, 4)), np.diag([3.0, 3.0, 3.0, 1.0]))
    assert side_of(Lesion("1", (1.0, 0.0, 0.0)), narrow) == side_of(Lesion("1"), narrow) == ""


def test_groups_come_from_the_model_s_own_evaluation(
    toy_predictor: Predictor, toy_studies: list[Study], tmp_path: Path
) -> None:
    area = {"value": 0.8, "low": 0.7, "high": 0.9}
    group = {"name": "north", "n": 9, "n_positive": 4, "figures": {"auroc": area}}
    figures = {
        "target": "malignancy",
        "fused": {"auroc": area},
        "n": 20,
        "n_positive": 9,
        "subgroups": [{"column": "site", "groups": [group]}],
    }
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "metrics.json").write_text(json.dumps(figures))
    study = toy_studies[1]
    [lesion] = study.lesions
    preprocessing = toy_predictor.preprocessing

    def groups(run: Path, target: str) -> list[tuple[str, str, int]]:
        sample = preprocessing(study, lesion)
        facts = case_facts(study, lesion, sample=sample, preprocessing=preprocessing, run=run, target=target)
        return [(group.column, group.name, group.n) for group in facts.groups]

    assert groups(tmp_path, "malignancy") == [("", "", 20), ("site", "north", 9)]
    assert groups(tmp_path, "another") == groups(tmp_path / "absent", "malignancy") == []


def test_a_study_is_explained_with_its_page_printed(
    toy_predictor: Predictor, toy: Any, names: Pseudonymizer, tmp_path: Path
) -> None:
    pytest.importorskip("weasyprint", reason="weasyprint is not installed: pip install 'medfuse[pdf]'")
    [folder] = explain_study(
        toy.entries[1], predictor=toy_predictor, out=tmp_path, pseudonymizer=names, page=PageOptions(pdf=True)
    )
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF-")
    assert "Lesion at x" in (folder / "report.html").read_text()
