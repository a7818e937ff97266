import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medfuse.errors import DataError
from medfuse.explain import explain, explain_study, write_explanation
from medfuse.inference import Predictor
from medfuse.io import Pseudonymizer, read_volume
from medfuse.types import CaseId, Explanation, Study


@pytest.fixture(scope="module")
def explanation(toy_predictor: Predictor, toy_studies: list[Study]) -> Explanation:
    study = toy_studies[1]
    [lesion] = study.lesions
    return explain(
        toy_predictor,
        toy_predictor.preprocessing(study, lesion),
        text=lesion.text,
        affine=toy_predictor.preprocessing.box_affine(study, lesion),
    )


def test_page_figures_and_map_are_written(explanation: Explanation, tmp_path: Path) -> None:
    folder = write_explanation(explanation, tmp_path, provenance={"data": "toy"})
    assert folder == tmp_path / str(explanation.prediction.case)
    assert sorted(p.name for p in folder.iterdir()) == [
        "explanation.json",
        "explanation.nii.gz",
        "feedback.json",
        "report.html",
    ]
    figures = json.loads((folder / "explanation.json").read_text())
    assert figures["case_id"] == str(explanation.prediction.case)
    assert figures["checks"] == pytest.approx(dict(explanation.checks))
    assert "toy" in (folder / "report.html").read_text()


def test_the_map_comes_back_on_its_grid(explanation: Explanation, tmp_path: Path) -> None:
    folder = write_explanation(explanation, tmp_path, provenance={})
    volume = read_volume(folder / "explanation.nii.gz")
    assert explanation.affine is not None and explanation.image_map is not None
    assert np.allclose(volume.affine, explanation.affine, rtol=0, atol=1e-4)
    assert np.allclose(volume.voxels, explanation.image_map, rtol=0, atol=1e-7)


def test_without_a_map_no_image_file_is_written(explanation: Explanation, tmp_path: Path) -> None:
    text_only = replace(explanation, image=None, image_map=None, affine=None)
    folder = write_explanation(text_only, tmp_path, provenance={})
    assert sorted(p.name for p in folder.iterdir()) == ["explanation.json", "feedback.json", "report.html"]


@pytest.mark.parametrize("lesion_id", ["../../outside", "/outside", "a/b", "..", "x\0"])
def test_a_lesion_id_cannot_leave_the_folder(explanation: Explanation, tmp_path: Path, lesion_id: str) -> None:
    prediction = replace(explanation.prediction, case=CaseId("../S1", lesion_id))
    out = tmp_path / "a" / "b"
    with pytest.raises(DataError, match="lesion_id"):
        write_explanation(replace(explanation, prediction=prediction), out, provenance={})
    assert list(tmp_path.iterdir()) == []


def test_a_study_s_cases_are_written_by_pseudonym_only(
    toy: Any, toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    entry = next(e for e in toy.entries if e.study_uid in toy.balls)
    folders = explain_study(entry, predictor=toy_predictor, out=tmp_path, pseudonymizer=names)
    assert [folder.name for folder in folders] == [f"{names.study(entry.study_uid)}-1"]
    ids = [secret.encode() for secret in toy.secrets if "nodule" not in secret]
    for path in tmp_path.rglob("*"):
        assert not any(secret in path.name.encode() for secret in ids)
        if path.is_file():
            data = path.read_bytes()
            assert not any(secret in data for secret in ids), path.name
    # The page is for a clinician and shows the report; the figures beside it hold offsets, never words.
    assert b"spiculated" not in (folders[0] / "explanation.json").read_bytes()
    assert b"smooth" not in (folders[0] / "explanation.json").read_bytes()
