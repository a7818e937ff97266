"""Mutated files are read or refused by name: nothing uncaught, nothing that hangs, no process that dies."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"
FUZZ = SHARED / "tools" / "fuzz.py"
WORKER = Path(__file__).with_name("fuzzing.py")
CASES = SHARED / "data" / "dicom"
SEEDS = {
    "dicom": (
        "ct_axial_noext", "ct_deflated_series_derived", "ctslice_BigEndianExplicit", "ctslice_LittleEndianImplicit",
        "ctslice_RLELossless", "enh_emri_small", "enh_philips_fmri_4d", "enh_siemens_anat", "mosaic_ts8",
        "mr_no_preamble_series_derived", "mr_philips_dti_4d", "mr_xa30_classic", "mrslice_MR_small_implicit",
        "mrslice_MR_small_jpeg_ls_lossless", "mr_compressed_j2k", "ctslice_JPEGProcess14SV1",
    ),
    "nifti": (
        "nii_5d", "nii_anatomical", "nii_flip_lps", "nii_functional", "nii_no_form", "nii_qform_only", "nii_scl",
        "nii_sform_only", "nii_standard",
    ),
}  # fmt: skip


def fuzz(kind: str, folder: Path, *, n: int, seed: int = 7) -> dict[str, object]:
    if not FUZZ.is_file() or not CASES.is_dir():
        pytest.skip("shared/tools/fuzz.py or shared/data/dicom is not beside the repository")
    folder.mkdir()
    for name in SEEDS[kind]:
        first = min(path for path in (CASES / name / "input").iterdir() if path.is_file())
        shutil.copy(first, folder / f"{name}{''.join(first.suffixes[-2:]) if kind == 'nifti' else ''}")
    command = [sys.executable, str(WORKER), str(FUZZ), str(folder), str(n), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("kind", ["dicom", "nifti"])
def test_mutated_file_is_read_or_refused_by_name(kind: str, tmp_path: Path) -> None:
    found = fuzz(kind, tmp_path / "seeds", n=60)
    assert found["bad"] == [] and found["ends"] == {"ok": 60}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "n"), [("dicom", 4000), ("nifti", 1000)])
def test_thousands_of_mutated_files_are_read_or_refused_by_name(kind: str, n: int, tmp_path: Path) -> None:
    found = fuzz(kind, tmp_path / "seeds", n=n, seed=11)
    assert found["bad"] == [] and found["ends"] == {"ok": n}, found
    assert float(str(found["slowest_s"])) < 10, found
