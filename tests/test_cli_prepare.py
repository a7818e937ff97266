"""`medfuse prepare`: exit codes, refusals by name, and that it goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medfuse import cli
from medfuse.io import write_nifti
from medfuse.types import Volume

CONFIG = """
data:
  image: {size: [4, 4, 4], spacing_mm: 1.0, channels: [{intensity: soft_tissue}]}
  cache: {folder: %s}
targets: [{name: malignancy, classes: [negative, positive]}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(2):
        voxels = np.full((8, 8, 8), 10 * number, dtype=np.int16)
        write_nifti(Volume(voxels, np.eye(4), "HU"), tmp_path / f"SMITH{number}.nii.gz")
    rows = [
        {"patient_id": f"SMITH{n}", "study_uid": f"1.2.{n}", "image_path": f"SMITH{n}.nii.gz", "roi_x_mm": 4.0,
         "roi_y_mm": 4.0, "roi_z_mm": 4.0}
        for n in range(2)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    (tmp_path / "config.yaml").write_text(CONFIG % (tmp_path / "kept"))
    return tmp_path


def prepare(folder: Path, *options: str) -> int:
    command = ["prepare", str(folder / "manifest.csv"), "--config", str(folder / "config.yaml"), "--workers", "1"]
    return cli.main([*command, *options])


def test_images_are_kept_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare(folder) == 0
    assert "2 images prepared, 0 known before, 0 refused" in capsys.readouterr().err
    assert prepare(folder) == 0
    assert "0 images prepared, 2 known before, 0 refused" in capsys.readouterr().err


def test_bad_study_is_refused_by_name_and_the_exit_code_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "SMITH0.nii.gz").write_bytes(b"SMITH")
    assert prepare(folder) == 3
    said = capsys.readouterr().err
    assert "1 images prepared, 0 known before, 1 refused" in said
    assert "refused " in said
    assert "SMITH" not in said


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("data.image.channels=[{intensity: lungs}]", "did you mean 'lung'"),
        ("data.image.channels=[{intensities: lung}]", "did you mean 'intensity'"),
        ("data.image.margin_mm=5", "margin_mm only with"),
        ("data.unit=arbitrary", "unit: hu for an intensity"),
        ("data.cache.max_gb=1e-9", "data.cache.max_gb"),
    ],
)
def test_wrong_option_is_named_and_nothing_is_kept(
    folder: Path, override: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(folder, "--set", override) == 2
    assert reason in capsys.readouterr().err
    assert not list(folder.glob("kept/boxes/*.pack"))
