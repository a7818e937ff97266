from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from medfuse.cohorts.lidc_patches import EDGE, Patch
from medfuse.models.transfer import KeyReport
from pipelines.pretrained_ct import STATISTICS, is_labelled, judge, prepared, probe, write


def cube(number: int, *, malignancy: float, patients: range | None = None) -> Patch:
    hu = np.full((EDGE,) * 3, -800.0, np.float32)
    hu[0, 0, 0] = 3000.0
    return Patch(f"{number}", hu, hu > 0, patients or range(number, number + 1), malignancy)


def test_only_cubes_of_one_patient_that_others_judged_have_a_label() -> None:
    cubes = [
        cube(1, malignancy=4.0), cube(2, malignancy=3.0), cube(3, malignancy=float("nan")),
        cube(4, malignancy=1.0, patients=range(4, 9)),
    ]  # fmt: skip
    assert [patch.name for patch in cubes if is_labelled(patch)] == ["1"]


def test_a_cube_is_turned_to_ras_and_scaled_as_the_encoder_saw_ct() -> None:
    image = prepared(cube(1, malignancy=4.0))
    assert image.shape == (1, EDGE, EDGE, EDGE)
    assert image[0, -1, -1, -1] == 1.0 and image[0, 0, 0, 0] == pytest.approx(200 / 1200)


def test_a_probe_finds_what_features_tell_and_nothing_in_noise(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cubes = [cube(number, malignancy=5.0 if number % 2 else 1.0) for number in range(1, 161)]
    labels = np.array([patch.others_malignancy > 3 for patch in cubes])
    telling = np.column_stack([labels + 0.5 * rng.normal(size=160), *rng.normal(size=(3, 160))])
    found = judge(cubes, {"telling": telling, STATISTICS: rng.normal(size=(160, 4))})
    assert found["auroc"]["telling"]["value"] > 0.85
    assert found["auroc"][STATISTICS]["low"] < 0.5
    assert found[f"less {STATISTICS}"]["telling"]["low"] > 0
    weights = tmp_path / "w.pt"
    torch.save({"a": torch.ones(1)}, weights)
    (tmp_path / "patches.npz").write_bytes(b"x")
    write(tmp_path / "out", found, KeyReport(("a",), (), (), ()), weights=weights, patches=tmp_path)
    assert "| telling |" in (tmp_path / "out" / "README.md").read_text()
    assert len(json.loads((tmp_path / "out" / "run.json").read_text())["weights"]["sha256"]) == 64


def test_no_patient_is_answered_by_a_fit_that_saw_it() -> None:
    patients = np.repeat(np.arange(40), 2).astype(str)
    labels = np.repeat(np.arange(40) % 2 == 0, 2)
    # A feature a patient: it tells the label perfectly to whoever has seen the patient, and nothing to others.
    features = np.repeat(np.eye(40), 2, axis=0)
    folds = np.repeat(np.arange(40) % 5, 2)
    answered = probe(features, labels, folds, patients)
    assert np.abs(answered - answered.mean()).max() < 0.2
