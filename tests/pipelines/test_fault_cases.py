import json
import pickle
import stat
from pathlib import Path

import numpy as np
import pytest

from medfuse.errors import UsageError
from medfuse.io import SeriesIdentity, derived_uid, index_archive, write_dicom_series
from medfuse.types import Volume
from pipelines import fault_cases
from pipelines.fault_tools.variant import Sound

FAULTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "faults"
LARGE = {"nii_zip_bomb", "arc_zip_bomb", "txt_hundred_megabytes", "arc_link_loop", "arc_empty", "arc_deep"}
MARKER = "RAN_BY_A_TEST"
JUDGE = """
import json, sys
from pathlib import Path
given = dict(zip(sys.argv[2::2], sys.argv[3::2]))
cases = json.loads((Path(sys.argv[1]) / "cases.json").read_text())["cases"]
row = {"got": "refuse", "want": ["refuse"], "rc": 3, "ok": True, "bad": [], "s": 1.5, "tail": "/secret/place"}
Path(given["--report"]).write_text(json.dumps([{"id": c["id"], "group": c["group"], **row} for c in cases]))
"""


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Return a folder with one given case, the sound study."""
    study = tmp_path / "given" / fault_cases.STUDY
    uids = [derived_uid(part) for part in ("study", "series", "frame")]
    volume = Volume(np.zeros((8, 8, 4), dtype=np.float32), np.diag([1.0, 1.0, 2.0, 1.0]), "HU")
    write_dicom_series(volume, study / "dicom", identity=SeriesIdentity("P1", *uids))
    (study / "report.txt").write_text("FINDINGS: None.")
    case = {"id": fault_cases.STUDY, "group": "control", "input": {"type": "study", "path": fault_cases.STUDY}}
    (tmp_path / "given" / "cases.json").write_text(json.dumps({"pwn_marker": MARKER, "cases": [case]}))
    return tmp_path / "given"


def test_the_four_that_a_checkout_cannot_carry_are_made_beside_those_given(
    given: Path, toy_bundle: Path, tmp_path: Path
) -> None:
    cases = fault_cases.gather(given, tmp_path, model=toy_bundle, sets=["given"])
    names = [case["id"] for case in json.loads((cases / "cases.json").read_text())["cases"]]
    assert names == [fault_cases.STUDY, "arc_fifo", "arc_symlink", "arc_unreadable", "mod_pickle"]
    assert stat.S_ISFIFO((cases / "arc_fifo" / "dicom" / "IM9999.dcm").stat().st_mode)
    assert (cases / "arc_symlink" / "other").resolve().is_relative_to(tmp_path / "elsewhere")
    closed = [path for path in (cases / "arc_unreadable").rglob("*.dcm") if not stat.S_IMODE(path.stat().st_mode)]
    assert [path.parts[-3] for path in closed] == ["closed"]
    closed[0].chmod(0o600)
    assert index_archive(cases / "arc_unreadable").series["study_uid"].nunique() == 2
    assert b"posix" in (cases / "mod_pickle" / "model.pt").read_bytes()


def test_the_pickle_does_run_code_where_it_is_loaded(given: Path, tmp_path: Path) -> None:
    row = fault_cases._pickle(tmp_path, tmp_path / "ran")
    assert not (tmp_path / "ran").exists()
    pickle.loads((tmp_path / row["input"]["path"] / "model.pt").read_bytes())
    assert (tmp_path / "ran").exists()


def test_rows_hold_no_place_of_the_machine_and_a_failed_case_is_named(
    given: Path, toy_bundle: Path, tmp_path: Path
) -> None:
    program = tmp_path / "judge.py"
    program.write_text(JUDGE)
    cases = fault_cases.gather(given, tmp_path, model=toy_bundle, sets=["given"])
    rows = fault_cases.judge(cases, program, toy_bundle)
    rows[-1] |= {"ok": False, "got": "continue"}
    fault_cases.write(tmp_path / "out", rows)
    page = (tmp_path / "out" / "faults.md").read_text()
    assert "| all | 5 | 4 | 4 | 0 | 1 | 1.5 |" in page
    assert "- mod_pickle: continue, ['refuse'] wanted" in page
    fault_cases.write(tmp_path / "out", [rows[-1] | {"ok": True}])
    page = (tmp_path / "out" / "faults.md").read_text()
    assert "| all | 5 | 5 |" in page and "mod_pickle" not in page
    assert "secret" not in (tmp_path / "out" / "faults.json").read_text()


def test_what_is_absent_is_said(given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fault_cases.main(["--cases", str(tmp_path)]) == 1
    assert "found no cases.json; expected a folder of fault cases" in capsys.readouterr().err
    with pytest.raises(UsageError, match="expected the program that judges the cases"):
        fault_cases.judge(given, tmp_path / "none.py", tmp_path)
    with pytest.raises(UsageError, match="such as make demo leaves"):
        fault_cases.gather(given, tmp_path, model=tmp_path)


VARIANTS = [(group, name) for group, variants in fault_cases.VARIANTS.items() for name in variants]


@pytest.mark.skipif(not FAULTS.is_dir(), reason="shared/data/faults is not beside the repository")
@pytest.mark.parametrize(("group", "name"), [item for item in VARIANTS if item[1] not in LARGE])
def test_each_variant_changes_the_sound_input(group: str, name: str, toy_bundle: Path, tmp_path: Path) -> None:
    sound = Sound(FAULTS / "ctl_ct", FAULTS / "ctl_nifti", FAULTS / "ctl_manifest", toy_bundle, fault_cases.CONFIG)
    variant = fault_cases.VARIANTS[group][name]
    variant.make(tmp_path, sound)
    was = {"manifest": sound.manifest, "checkpoint": sound.model, "config": sound.config.parent}
    before = was.get(variant.kind, sound.nifti if group == "nifti" else sound.dicom)
    assert contents(tmp_path) != contents(before)
    assert len({name for _, name in VARIANTS}) == len(VARIANTS)


def contents(folder: Path) -> dict[str, bytes]:
    found = folder.rglob("*")
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in found}
