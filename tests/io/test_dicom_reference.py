"""Every shared DICOM and NIfTI case: read as the reference says, or refused where it must be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"
N_CASES = 68


@pytest.mark.skipif(not (SHARED / "data" / "dicom").is_dir(), reason="the shared DICOM cases are absent")
def test_every_shared_case_is_right(tmp_path: Path) -> None:
    (tmp_path / "reader.py").write_text(
        "from medfuse.io import read_volumes\n"
        "def read(path):\n    return [(v.voxels, v.affine) for v in read_volumes(path)]\n"
    )
    judge = [sys.executable, str(SHARED / "tools" / "dicom_judge.py"), str(SHARED / "data" / "dicom"), "reader:read"]
    done = subprocess.run(judge, cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line for line in lines if " PASS" not in line] == [] and len(lines) == N_CASES
