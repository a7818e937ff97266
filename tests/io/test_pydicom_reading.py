from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from medfuse.io import pydicom_reading
from medfuse.io.dicom_headers import HEADER_KEYWORDS
from medfuse.io.pydicom_reading import quiet_pydicom, read_dataset, read_values


@pytest.fixture
def path(tmp_path: Path, write_series) -> Path:
    paths: list[Path] = write_series(tmp_path)
    return paths[0]


def test_values_and_pixels_are_found(path: Path) -> None:
    with path.open("rb") as file:
        values, offset, length = read_values(file, HEADER_KEYWORDS)
        file.seek(offset)
        assert file.read(length) == pydicom.dcmread(path).PixelData
    assert values["PixelSpacing"] == "0.8\\0.7" and "EchoTime" not in values


def test_reads_are_limited(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom_reading, "MAX_READS", 20)
    with path.open("rb") as file, pytest.raises(RecursionError):
        read_dataset(file, None)


def test_broken_value_is_unreadable_and_nothing_is_shown(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = path.read_bytes().replace(b"(\x00\x10\x00US\x02\x00", b"(\x00\x10\x00US\x03\x00", 1)
    with warnings.catch_warnings(), quiet_pydicom():
        warnings.simplefilter("error")
        values, _, _ = read_values(BytesIO(whole), ["Rows", "Modality"])
    assert values.get("Rows") == "unreadable" and values["Modality"] == "CT" and not caplog.records
