from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medfuse.cohorts.lidc_patches import Patch, read_patches
from medfuse.config import RunConfig
from medfuse.types import Study, Volume
from pipelines.out_of_distribution import (
    HELD_OUT,
    POSITIONS,
    SMALLEST_EXTENT_MM,
    figures_of,
    is_reached,
    places,
    read_foreign,
    scaled,
    variants,
    write,
    write_cohort,
)

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
DICOM, CUBES = SHARED / "dicom", SHARED / "lidc_ct_patches_134"
WINDOW = (-850.0, 150.0)


@pytest.fixture
def patch() -> Patch:
    rng = np.random.default_rng(0)
    hu = rng.normal(-700, 100, (9, 9, 9)).astype(np.float32)
    return Patch("12_nod1_ann0", hu, hu > -600, range(12, 13), 4.0)


def voxels(study: Study) -> np.ndarray:
    volume = study.volumes["image"]
    assert isinstance(volume, Volume)
    return volume.voxels.astype(np.float64)


def table(*, held: list[float], other: list[float]) -> pd.DataFrame:
    rows = [
        {"group": group, "cluster": str(i), "fold": 0, "has_doubt": group == "MR", "way": "statistics", "score": score}
        for group, scores in ((HELD_OUT, held), ("MR", other))
        for i, score in enumerate(scores)
    ]
    return pd.DataFrame(rows)


def test_inverted_cubes_and_noise_share_what_they_should_with_the_cube(patch: Patch) -> None:
    shown = {group: voxels(study) for group, _, study in variants([patch], WINDOW)}
    assert {cluster for _, cluster, _ in variants([patch], WINDOW)} == {"12"}
    assert shown[HELD_OUT] == pytest.approx(patch.hu)
    assert shown["inverted"] - WINDOW[0] == pytest.approx(WINDOW[1] - patch.hu)
    assert sorted(shown["shuffled voxels"].ravel()) == pytest.approx(sorted(patch.hu.ravel().tolist()))
    assert shown["smooth noise"].std() == pytest.approx(patch.hu.std(), rel=1e-3)
    assert shown["white noise"].mean() == pytest.approx(patch.hu.mean(), rel=0.05)


def test_places_lie_in_the_brighter_part_and_an_mr_is_scaled_to_the_range_of_a_ct() -> None:
    values = np.zeros((20, 20, 20))
    values[5:15, 5:15, 5:15] = np.linspace(100, 900, 1000).reshape(10, 10, 10)
    volume = Volume(values, np.diag([2.0, 3.0, 1.0, 1.0]), modality="MR")
    found = places(volume, np.random.default_rng(0))
    assert len(found) == POSITIONS
    assert all(10 <= x < 30 and 15 <= y < 45 and 5 <= z < 15 for x, y, z in found)
    converted = scaled(volume)
    assert converted.unit == "HU"
    assert np.percentile(converted.voxels.astype(np.float64), [1, 99]) == pytest.approx([-1000, 400])


def test_areas_alarms_and_doubts_are_those_of_the_scores() -> None:
    found = figures_of(table(held=[0.2, 0.4, 0.6, 1.2], other=[0.5, 2.0, 3.0, 4.0]))["statistics"]
    assert found["held_out"]["not_flagged"]["value"] == 0.75
    assert found["groups"]["MR"]["auroc"]["value"] == pytest.approx((2 + 4 + 4 + 4) / 16)
    assert found["groups"]["MR"]["flagged"]["value"] == 0.75
    assert found["groups"]["MR"]["flagged_by_unit"] == 1.0
    assert not is_reached(found)
    assert is_reached(figures_of(table(held=[0.2] * 20, other=[2.0] * 5))["statistics"])


def test_the_record_says_whether_its_aims_are_met(toy_config: RunConfig, tmp_path: Path) -> None:
    write(tmp_path, table(held=[0.2, 0.4], other=[2.0, 3.0]), [{"fold": 0}], toy_config, data_digest="abc")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["aims"] == {"auroc": 0.95, "false_alarms": 0.05, "reached": True}
    run = json.loads((tmp_path / "run.json").read_text())
    assert {"command", "seed", "config", "config_digest", "data_digest", "versions"} == set(run)


@pytest.mark.skipif(not DICOM.is_dir(), reason="the shared DICOM cases are absent")
def test_real_mr_and_head_ct_are_found_and_none_of_them_is_thin() -> None:
    found = read_foreign(DICOM)
    groups = {group: {name for other, name, _ in found if other == group} for group, _, _ in found}
    assert set(groups) == {"head CT", "MR as stored", "MR scaled to HU"}
    assert groups["MR as stored"] == groups["MR scaled to HU"]
    assert len(groups["MR as stored"]) >= 10
    for _, _, study in found[::12]:
        volume = study.volumes["image"]
        assert isinstance(volume, Volume)
        assert min(np.array(volume.shape) * volume.spacing_mm) >= SMALLEST_EXTENT_MM


@pytest.mark.skipif(not CUBES.is_dir(), reason="the shared CT cubes are absent")
def test_the_cohort_holds_each_cube_once_and_no_patient_in_two_folds(tmp_path: Path) -> None:
    patches = read_patches(CUBES)[:20]
    frame = write_cohort(tmp_path, patches, CUBES / "labels.csv").frame
    assert frame["study_uid"].tolist() == [patch.name for patch in patches]
    assert frame.groupby("patient_id")["fold"].nunique().max() == 1
    assert set(frame["label_malignancy"]) == {"negative", "positive"}
