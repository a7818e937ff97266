from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medfuse.cli import main
from medfuse.errors import UsageError
from medfuse.io import Pseudonymizer, SeriesIdentity, read_volume, write_dicom_series
from medfuse.io.convert import convert
from medfuse.types import Volume

NAMES = Pseudonymizer(bytes(32))
SECRETS = ("Ann", "Real", "2.25", "1950", "2020", "SMITH")


def shown(folder: Path) -> str:
    """Return every name under a folder and every JSON and NIfTI byte."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    images = [bytes(nibabel.load(path).header.binaryblock).decode("latin1") for path in files if ".nii" in path.name]
    return "\n".join(
        [str(path.relative_to(folder)) for path in files]
        + images
        + [p.read_text() for p in files if p.suffix == ".json"]
    )


def test_volume_is_written_with_both_forms_and_a_json_that_names_nobody(
    tmp_path: Path, volume: Volume, write_series: Callable[..., list[Path]], change: Callable[..., None]
) -> None:
    for path in write_series(tmp_path / "Ann_Real"):
        change(path, ConvolutionKernel="B30f", EchoTime="30", Manufacturer="Dr. SMITH, 1950", StudyDate="20200101")
    done = convert(tmp_path / "Ann_Real", tmp_path / "out", pseudonymizer=NAMES)
    (image,) = done.written
    assert image.name == f"{NAMES.series('2.25.11')}.nii.gz" and done.refused == ()
    stored = nibabel.load(image)
    assert stored.header["sform_code"] == stored.header["qform_code"] == 1
    assert np.abs(stored.get_qform() - stored.get_sform()).max() < 1e-5
    assert np.array_equal(np.asarray(stored.dataobj), volume.voxels) and np.allclose(stored.affine, volume.affine)
    content = json.loads(image.with_name(image.name.replace(".nii.gz", ".json")).read_text())
    assert content["Modality"] == "CT" and content["Units"] == "HU" and content["ConvolutionKernel"] == "B30f"
    assert content["EchoTime"] == 0.03 and content["ConversionSoftware"] == "medfuse"
    assert np.allclose(content["VoxelSpacing"], (0.7, 0.8, 2.5))
    assert not [secret for secret in SECRETS if secret in shown(tmp_path / "out")]


def test_sheared_volume_has_an_sform_alone_and_says_so(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[1, 2] = 0.6
    identity = SeriesIdentity(patient_id="a", study_uid="2.25.1", series_uid="2.25.2", frame_of_reference_uid="2.25.3")
    write_dicom_series(Volume(np.zeros((4, 4, 6), np.int16), affine), tmp_path / "in", identity=identity)
    (image,) = convert(tmp_path / "in", tmp_path / "tilted.nii", pseudonymizer=NAMES).written
    stored = nibabel.load(image)
    assert (stored.header["sform_code"], stored.header["qform_code"]) == (1, 0)
    assert np.allclose(read_volume(image).affine, read_volume(tmp_path / "in").affine, atol=1e-5)
    content = json.loads((tmp_path / "tilted.json").read_text())
    assert content["QformCode"] == 0 and "sheared" in content["Geometry"] and "tilt" in " ".join(content["Warnings"])


def test_each_time_point_is_a_file(tmp_path: Path, write_series, change) -> None:
    for phase in (1, 2):
        for number, path in enumerate(write_series(tmp_path / "in" / str(phase))):
            uid = f"2.25.{phase}000{number}"
            change(path, TemporalPositionIdentifier=phase, SOPInstanceUID=uid)
    done = convert(tmp_path / "in", tmp_path / "out", pseudonymizer=NAMES)
    key = NAMES.series("2.25.11")
    assert [path.name for path in done.written] == [f"{key}_vol-001.nii.gz", f"{key}_vol-002.nii.gz"]
    with pytest.raises(UsageError, match="found 2 volumes for one file name"):
        convert(tmp_path / "in", tmp_path / "one.nii.gz", pseudonymizer=NAMES)
    assert not (tmp_path / "one.nii.gz").exists()


def test_refused_series_does_not_stop_the_others(tmp_path: Path, write_series) -> None:
    write_series(tmp_path / "in" / "good", series=1)
    write_series(tmp_path / "in" / "gap", series=2)[2].unlink()
    (tmp_path / "in" / "notes.txt").write_text("no image")
    done = convert(tmp_path / "in", tmp_path / "out", pseudonymizer=NAMES)
    assert len(done.written) == 1
    ((key, error),) = done.refused
    assert key == NAMES.series("2.25.12") and "missing" in str(error)


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_zip_and_tar_are_read_in_place(tmp_path: Path, write_series, volume: Volume, kind: str) -> None:
    write_series(tmp_path / "in" / "dicom")
    source = Path(shutil.make_archive(str(tmp_path / "study"), kind, tmp_path / "in"))
    before = sorted(tmp_path.rglob("*"))
    (image,) = convert(source, tmp_path / "out", pseudonymizer=NAMES).written
    assert np.array_equal(read_volume(image).voxels, volume.voxels)
    assert [path for path in sorted(tmp_path.rglob("*")) if "out" not in path.parts] == before


def test_nothing_is_overwritten_silently(tmp_path: Path, write_series) -> None:
    write_series(tmp_path / "in")
    (image,) = convert(tmp_path / "in", tmp_path / "out", pseudonymizer=NAMES).written
    image.write_bytes(b"mine")
    with pytest.raises(UsageError, match="there already"):
        convert(tmp_path / "in", tmp_path / "out", pseudonymizer=NAMES)
    assert image.read_bytes() == b"mine"
    convert(tmp_path / "in", tmp_path / "out", pseudonymizer=NAMES, overwrite=True)
    assert read_volume(image).voxels.shape == (7, 6, 5)


def test_equal_input_gives_equal_files(tmp_path: Path, write_series) -> None:
    write_series(tmp_path / "in")
    for out in ("a", "b"):
        convert(tmp_path / "in", tmp_path / out, pseudonymizer=NAMES)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.parametrize("arguments", [["absent"], ["empty"], ["in", "--out", "file"]])
def test_wrong_use_is_2_and_writes_nothing(tmp_path: Path, write_series, monkeypatch, capsys, arguments) -> None:
    monkeypatch.chdir(tmp_path)
    write_series(tmp_path / "in")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    assert main(["convert", *arguments, *([] if "--out" in arguments else ["--out", "new"])]) == 2
    assert sorted(tmp_path.rglob("*")) == before
    assert capsys.readouterr().err.startswith("error: ")


def test_command_ends_with_0_and_with_3_if_something_is_refused(tmp_path: Path, write_series, capsys) -> None:
    paths = write_series(tmp_path / "in")
    assert main(["convert", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    paths[2].unlink()
    assert main(["convert", str(tmp_path / "in"), "--out", str(tmp_path / "again"), "--quiet"]) == 3
    assert f"refused {'E'}" in capsys.readouterr().err
    assert main(["convert", str(paths[0]), "--out", str(tmp_path / "one.nii.gz"), "--quiet"]) == 0
