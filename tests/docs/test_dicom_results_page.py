"""The Python of the page on DICOM results runs, and its codes are those that are written."""

import re
from pathlib import Path

import numpy as np
import pytest

from medfuse.io import SeriesIdentity, write_dicom_series
from medfuse.reporting import dicom_results_codes, dicom_results_images, dicom_results_report
from medfuse.types import CaseId, Explanation, Prediction, Volume

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "dicom_results.md").read_text(encoding="utf-8")
READING, WRITING = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_what_is_written_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    volume = Volume(np.zeros((12, 12, 6), np.int16), np.diag([-0.7, -0.7, 2.5, 1.0]), "HU")
    identity = SeriesIdentity("P", "2.25.1", "2.25.2", "2.25.3", "20240102")
    write_dicom_series(volume, tmp_path / "study" / "dicom", identity=identity)
    (tmp_path / "explained").mkdir()
    (tmp_path / "explained" / "report.pdf").write_bytes(b"%PDF-1.7\n%%EOF\n")
    answer = {"fused": (0.3, 0.7)}
    told = Prediction(CaseId("S", "1"), "malignancy", ("benign", "malignant"), answer, 0.5, ("image",), "m")
    found = np.random.default_rng(0).normal(size=volume.shape).astype(np.float32)
    exec(WRITING, {"explanation": Explanation(told, found, found, volume.affine)})  # noqa: S102
    assert len(list((tmp_path / "explained" / "case").glob("*.dcm"))) == 4
    exec(READING, {})  # noqa: S102
    assert "Probability of cancer 70.0 %" in capsys.readouterr().out


def test_every_fixed_code_is_on_the_page() -> None:
    internal = {"123110", "1", "%", "mm3", "121007"}  # of the algorithm, units and the observer
    used = {
        code.value
        for module in (dicom_results_codes, dicom_results_images, dicom_results_report)
        for value in vars(module).values()
        for code in (value.values() if isinstance(value, dict) else [value])
        if isinstance(code, dicom_results_codes.Code)
    }
    assert sorted(value for value in used - internal if value not in PAGE) == []
