"""The command `medfuse explain`, its options one by one, on a study as a PACS sends it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from medfuse.cli import main
from medfuse.io import SeriesIdentity, read_volume, write_dicom_series
from medfuse.types import Volume

PATIENT, STUDY, SERIES = "SMITH-0001", "1.2.826.0.1.3680043.7.77", "1.2.826.0.1.3680043.7.77.1"
TEXT = "FINDINGS: A nodule with a spiculated margin in the right upper lobe. IMPRESSION: Pulmonary nodule."


@pytest.fixture
def study(toy: Any, tmp_path: Path) -> Path:
    """One positive case as DICOM, with its report."""
    uid = next(uid for uid, ball in toy.balls.items() if ball is not None)
    frame = toy.manifest.frame
    given = read_volume(toy.manifest.root / frame.loc[frame["study_uid"] == uid, "image_path"].iloc[0])
    whole = Volume(np.rint(given.voxels), given.affine, "HU")
    folder = tmp_path / "study"
    identity = SeriesIdentity(PATIENT, STUDY, SERIES, "1.2.826.0.1.3680043.7.77.2", "20200131")
    write_dicom_series(whole, folder / "dicom", identity=identity)
    (folder / "report.txt").write_text(TEXT)
    return folder


@pytest.fixture
def command(study: Path, toy_bundle: Path, tmp_path: Path) -> list[str]:
    """What every call has."""
    arguments = ["--model", str(toy_bundle), "--out", str(tmp_path / "out"), "--position", "centre"]
    return ["explain", str(study), *arguments]


def case_of(out: Path) -> Path:
    [folder] = out.iterdir()
    return folder


def dicom_errors(paths: Iterable[Path]) -> list[str]:
    """Return the errors that dciodvfy finds; none are found where it is not installed."""
    program = shutil.which("dciodvfy")
    found = []
    for path in paths if program else ():
        done = subprocess.run([str(program), str(path)], capture_output=True, text=True, check=False)
        found += [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
    return found


def test_dicom_results_lie_on_the_source_and_carry_its_identity(
    command: list[str], study: Path, tmp_path: Path
) -> None:
    import highdicom as hd
    import pydicom

    assert main([*command, "--dicom"]) == 0
    folder = case_of(tmp_path / "out")
    assert dicom_errors(folder.glob("*.dcm")) == []
    written = sorted(path.name for path in folder.glob("*.dcm"))
    assert written == sorted(["sr.dcm", "seg.dcm", "pm.dcm", *(["pdf.dcm"] if find_spec("weasyprint") else [])])
    source = {str(pydicom.dcmread(path).SOPInstanceUID) for path in (study / "dicom").iterdir()}
    for name in written:
        dataset = pydicom.dcmread(folder / name)
        assert (dataset.PatientID, dataset.StudyInstanceUID) == (PATIENT, STUDY)
    # The map in the PACS is the map on the page, where both have a voxel.
    nifti, pm = read_volume(folder / "explanation.nii.gz"), hd.imread(folder / "pm.dcm")
    frames = pm.PerFrameFunctionalGroupsSequence
    named = {str(f.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID) for f in frames}
    assert named <= source
    mapped = pm.get_volume(apply_real_world_transform=False)
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ mapped.affine
    index = np.stack(np.meshgrid(*map(np.arange, mapped.array.shape), indexing="ij")).reshape(3, -1)
    at = np.linalg.solve(nifti.affine, to_ras @ np.vstack([index, np.ones(index.shape[1])]))[:3]
    inside = np.all((at >= 0) & (at <= np.array(nifti.shape)[:, None] - 1), axis=0)
    expected = map_coordinates(nifti.voxels, at, order=1)
    assert inside.sum() > 500
    assert np.allclose(mapped.array.reshape(-1)[inside], expected[inside], atol=1e-4 * np.abs(nifti.voxels).max())
    report = hd.sr.srread(folder / "sr.dcm")
    measured = [one for group in report.content.get_image_measurement_groups() for one in group.get_measurements()]
    [probability] = [float(one.value) for one in measured if one.name.value == "111047"]
    figures = json.loads((folder / "explanation.json").read_text())
    assert probability == pytest.approx(100 * figures["probabilities"]["fused"][-1], abs=0.1)


def test_nifti_images_get_their_page_and_a_warning_in_place_of_dicom(
    toy: Any, toy_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    shutil.copy(toy.manifest.root / "image1.nii.gz", folder / "image.nii.gz")
    arguments = ["--model", str(toy_bundle), "--out", str(tmp_path / "out"), "--position", "centre"]
    assert main(["explain", str(folder), *arguments, "--dicom"]) == 0
    names = {path.name for path in case_of(tmp_path / "out").iterdir()}
    assert "report.html" in names and not {name for name in names if name.endswith(".dcm")}
    assert "no DICOM results for" in (shown := capsys.readouterr().err) and "found a NIfTI image" in shown


def test_a_method_is_chosen_for_each_input(command: list[str], tmp_path: Path) -> None:
    assert main([*command, "--method", "occlusion", "--method", "text=feature_ablation"]) == 0
    page = (case_of(tmp_path / "out") / "report.html").read_text()
    assert "occlusion (" in page and "feature ablation (" in page and "integrated gradients" not in page


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "grad_camm"], "--method: found 'grad_camm'; expected"),
        (["--method", "imgae=occlusion"], "--method: found the input 'imgae'; expected"),
        (["--method", "text=grad_cam"], "--method: found 'grad_cam', which does not score text"),
        (["--report", "absent.txt"], "--report: found no such file"),
        (["--rois", "absent.csv"], "absent.csv"),
    ],
)
def test_options_that_make_no_sense_are_named_and_nothing_is_written(
    command: list[str], more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *more]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_report_from_elsewhere_is_the_study_s(command: list[str], study: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(TEXT.replace("spiculated", "smooth"))
    assert main([*command, "--report", str(other)]) == 0
    page = (case_of(tmp_path / "out") / "report.html").read_text()
    assert "smooth" in page and "spiculated" not in page


def test_the_page_says_what_the_model_s_record_forbids_to_conclude(
    command: list[str], toy_bundle: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_bundle, run / "model")
    area = {"value": 0.8, "low": 0.7, "high": 0.9}
    weak = {"name": "north", "n": 9, "n_positive": 4, "figures": {"auroc": {"value": 0.5, "low": 0.3, "high": 0.7}}}
    like = {"name": "south", "n": 11, "n_positive": 5, "figures": {"auroc": area}}
    figures = {"target": "malignancy", "fused": {"auroc": area}, "n": 20, "n_positive": 9}
    figures["subgroups"] = [{"column": "site", "groups": [weak, like]}]
    (run / "evaluation").mkdir()
    (run / "evaluation" / "metrics.json").write_text(json.dumps(figures))
    (run / "config.resolved.yaml").write_text(
        "targets: [{name: malignancy, classes: [negative, positive], labels_from: report}]"
    )
    assert main([*command[:3], str(run / "model"), *command[4:]]) == 0
    page = (case_of(tmp_path / "out") / "report.html").read_text()
    assert "The labels of malignancy were read from the very reports that the model reads" in page
    assert "measured on 9 positive and 11 negative cases" in page
    assert "Cases with site “north” are ranked worse" in page and "“south” are ranked" not in page
