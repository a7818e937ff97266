from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from medfuse.io import SeriesIdentity, write_dicom_series
from medfuse.types import Volume

AFFINE = np.array([[-0.7, 0, 0, 10.0], [0, -0.8, 0, 20.0], [0, 0, 2.5, -30.0], [0, 0, 0, 1.0]])


@pytest.fixture
def volume() -> Volume:
    voxels = np.random.default_rng(0).integers(-1024, 3000, (7, 6, 5)).astype(np.int16)
    return Volume(voxels, AFFINE, "HU")


@pytest.fixture
def write_series(volume: Volume) -> Callable[..., list[Path]]:
    """Write the volume as a series of study 2.25.<study>, series 2.25.<study><series>."""

    def write(folder: Path, *, study: int = 1, series: int = 1, patient: str = "Ann^Real") -> list[Path]:
        identity = SeriesIdentity(
            patient_id=patient,
            study_uid=f"2.25.{study}",
            series_uid=f"2.25.{study}{series}",
            frame_of_reference_uid=f"2.25.{study}99",
        )
        return write_dicom_series(volume, folder, identity=identity)

    return write


@pytest.fixture
def change() -> Callable[..., None]:
    """Set (or with None delete) attributes of a DICOM file."""

    def change_file(path: Path, **values: Any) -> None:
        dataset = pydicom.dcmread(path)
        for keyword, value in values.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        dataset.save_as(path)

    return change_file


@pytest.fixture(autouse=True)
def _own_key(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDFUSE_CONFIG_DIR", str(tmp_path_factory.mktemp("config")))
