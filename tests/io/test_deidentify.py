from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from medfuse.cli import main
from medfuse.errors import UsageError
from medfuse.io import read_volume
from medfuse.io.deidentify import Deidentification, Profile, deidentify
from medfuse.io.files import input_files
from medfuse.io.pseudonyms import Pseudonymizer

NAMES = Pseudonymizer(bytes(range(32)))
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "dicom"
VALIDATOR = shutil.which("dciodvfy")
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@pytest.fixture
def source(tmp_path: Path, write_series: Callable[..., list[Path]]) -> Path:
    """Two studies of one patient, three days apart, and one of another."""
    for study, patient, day in ((1, "Ann^Real", "20240228"), (2, "Ann^Real", "20240302"), (3, "Bea^Real", "20240228")):
        for path in write_series(tmp_path / "in" / f"Real {study}", study=study, patient=patient):
            dataset = pydicom.dcmread(path)
            dataset.StudyDate = dataset.ContentDate = day
            dataset.PatientName, dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = (
                patient,
                "19300101",
                "F",
                "094Y",
            )
            dataset.save_as(path)
    return tmp_path / "in"


def run(source: Path, out: Path, *, names: Pseudonymizer = NAMES, **options: bool) -> Deidentification:
    return deidentify(source, out, pseudonymizer=names, profile=Profile(**options))


def written(out: Path) -> list[Path]:
    return sorted(out.glob("*/*/*/*.dcm"))


def test_files_keep_their_pixels_references_and_geometry(source: Path, tmp_path: Path) -> None:
    done = run(source, tmp_path / "out")
    assert (done.n_written, done.n_there, done.refused, done.flagged) == (15, 0, [], [])
    for study in (1, 2, 3):
        before = read_volume(source / f"Real {study}")
        folder = (
            tmp_path / "out" / NAMES.patient("Bea^Real" if study == 3 else "Ann^Real") / NAMES.study(f"2.25.{study}")
        )
        after = read_volume(folder)
        np.testing.assert_array_equal(after.voxels, before.voxels)
        np.testing.assert_array_equal(after.affine, before.affine)
        uids = {pydicom.dcmread(path).StudyInstanceUID for path in folder.rglob("*.dcm")}
        assert len(uids) == 1 and not uids & {f"2.25.{study}"}


def test_dates_of_one_patient_keep_their_intervals(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out")
    days: dict[tuple[str, str], datetime] = {}
    for path in written(tmp_path / "out"):
        dataset = pydicom.dcmread(path)
        assert dataset.StudyDate == dataset.ContentDate and dataset.PatientBirthDate == ""
        days[path.parts[-4], path.parts[-3]] = datetime.strptime(dataset.StudyDate, "%Y%m%d")
    ann, bea = NAMES.patient("Ann^Real"), NAMES.patient("Bea^Real")
    first, second = (days[ann, NAMES.study(f"2.25.{study}")] for study in (1, 2))
    assert (second - first).days == 3
    assert first != datetime(2024, 2, 28) != days[bea, NAMES.study("2.25.3")] != first


def test_no_name_is_in_a_path_or_file_or_the_log(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "Real 1" / "Ann broken.dcm").write_bytes((source / "Real 1" / "0001.dcm").read_bytes()[:900])
    assert main(["deidentify", str(source), "--out", str(tmp_path / "out")]) == 3
    shown = capsys.readouterr()
    assert "1 refused" in shown.err and re.search(r"refused F[0-9a-f]{16}: ", shown.err)
    said = shown.out + shown.err.replace(str(tmp_path), "")
    assert not re.search("Ann|Bea|Real|2024|2\\.25", said)
    for path in (tmp_path / "out").rglob("*"):
        assert not re.search("Ann|Bea|Real", str(path.relative_to(tmp_path)))
        assert path.is_dir() or not re.search(rb"(?i)\b(ann|bea)\b|real\b|2\.25\.\d\b", path.read_bytes())


def test_characteristics_stay_only_when_asked_for(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "without")
    run(source, tmp_path / "with", characteristics=True)
    without, kept = (pydicom.dcmread(written(tmp_path / name)[0]) for name in ("without", "with"))
    assert without.PatientSex == "" and "PatientAge" not in without
    assert (kept.PatientSex, kept.PatientAge) == ("F", "090Y")
    assert kept.DeidentificationMethodCodeSequence[-1].CodeValue == "113108"


def test_a_second_run_goes_on_where_the_first_stopped(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out")
    files = written(tmp_path / "out")
    lost, kept = files[3].read_bytes(), files[4].stat().st_mtime_ns
    files[3].unlink()
    done = run(source, tmp_path / "out")
    assert (done.n_written, done.n_there) == (1, 14)
    assert files[3].read_bytes() == lost and files[4].stat().st_mtime_ns == kept


def test_another_key_or_other_options_are_not_mixed_into_a_folder(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out")
    with pytest.raises(UsageError, match="another key"):
        run(source, tmp_path / "out", names=Pseudonymizer(bytes(32)))
    with pytest.raises(UsageError, match="other options"):
        run(source, tmp_path / "out", characteristics=True)
    with pytest.raises(UsageError, match="files of another kind"):
        run(source, _full(tmp_path))
    assert bytes(range(32)).hex().encode() not in (tmp_path / "out" / "deidentify.json").read_bytes()


def _full(tmp_path: Path) -> Path:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    return tmp_path / "full"


@pytest.mark.parametrize("kind", ["file", "zip", "tar.gz"])
def test_a_file_a_zip_and_a_tar_are_read(source: Path, tmp_path: Path, kind: str) -> None:
    whole = tmp_path / f"in.{kind}"
    if kind == "file":
        whole = source / "Real 1" / "0001.dcm"
    elif kind == "zip":
        with zipfile.ZipFile(whole, "w") as archive:
            for path in sorted(source.rglob("*.dcm")):
                archive.write(path, path.relative_to(source))
    else:
        with tarfile.open(whole, "w:gz") as archive:
            archive.add(source, "in")
    done = run(whole, tmp_path / "out")
    assert (done.n_written, done.refused) == (1 if kind == "file" else 15, [])


def test_wrong_use_writes_nothing(source: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no image")
    for place, out, found in (
        (tmp_path / "none", tmp_path / "out", "no such file"),
        (source, source / "out", "within IN"),
        (source, source / "Real 1" / "0001.dcm", "found a file"),
    ):
        with pytest.raises(UsageError, match=found):
            run(place, out)
        assert not (tmp_path / "out").exists() and not (source / "out").exists()
    with pytest.raises(UsageError, match="no DICOM file"):
        run(tmp_path / "empty", tmp_path / "out")


BURNED_IN: list[dict[str, Any]] = [
    {"BurnedInAnnotation": "YES"},
    {"SOPClassUID": SECONDARY_CAPTURE},
    {"SOPClassUID": SECONDARY_CAPTURE + ".4", "BurnedInAnnotation": "NO"},
    {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1", "Modality": "US"},
    {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.4", "Modality": "XC"},
    {"Modality": "US"},
    {"ConversionType": "WSD"},
    {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
    {"PixelData": b"Ann^Realname ".ljust(84, b"\0"), "PatientName": "Realname^Ann"},
    {"PixelData": bytes(84) + b"seen by A. Stranger"},
]


@pytest.mark.parametrize("values", BURNED_IN, ids=lambda values: "-".join(values))
def test_pixels_that_may_show_text_are_refused_or_flagged(
    source: Path, tmp_path: Path, change: Callable[..., None], values: dict[str, Any]
) -> None:
    change(source / "Real 1" / "0001.dcm", **values)
    done = run(source, tmp_path / "out")
    assert (done.n_written, len(done.refused)) == (14, 1)
    assert "pixels that may show" in str(done.refused[0][1])

    done = run(source, tmp_path / "allowed", allow_burned_in=True)
    assert (done.n_written, done.refused, len(done.flagged)) == (15, [], 1)
    said = [pydicom.dcmread(path).PatientIdentityRemoved for path in written(tmp_path / "allowed")]
    assert sorted(said) == ["NO"] + ["YES"] * 14


def test_an_overlay_in_the_bits_of_the_pixels_is_refused(source: Path, tmp_path: Path) -> None:
    path = source / "Real 1" / "0001.dcm"
    dataset = pydicom.dcmread(path)
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 12)
    dataset.save_as(path)
    done = run(source, tmp_path / "out")
    assert done.n_written == 14 and "overlay" in str(done.refused[0][1])


@pytest.mark.parametrize("more", [b"", b"\0\0", bytes(40), bytes(range(65, 91)) * 10])
def test_frames_that_are_not_counted_and_padding_are_no_text(
    source: Path, tmp_path: Path, change: Callable[..., None], more: bytes
) -> None:
    change(source / "Real 1" / "0001.dcm", PixelData=bytes(84) + more)
    done = run(source / "Real 1" / "0001.dcm", tmp_path / "out")
    assert pydicom.dcmread(written(tmp_path / "out")[0]).PixelData == bytes(84) + more and not done.refused


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"SOPClassUID": "1.3.12.2.1107.5.9.1"}, "private SOP class"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"}, "encapsulated document"),
        ({"SOPClassUID": None}, "no SOPClassUID"),
        ({"StudyInstanceUID": None}, "no StudyInstanceUID"),
    ],
)
def test_what_the_profile_cannot_clean_is_refused(
    source: Path, tmp_path: Path, change: Callable[..., None], values: dict[str, Any], found: str
) -> None:
    change(source / "Real 1" / "0001.dcm", **values)
    done = run(source, tmp_path / "out")
    assert done.n_written == 14 and found in str(done.refused[0][1])


def test_a_truncated_file_is_refused_at_any_length(source: Path, tmp_path: Path) -> None:
    whole = (source / "Real 1" / "0001.dcm").read_bytes()
    shutil.rmtree(source)
    source.mkdir()
    for length in range(200, len(whole), 19):
        (source / f"{length:05d}.dcm").write_bytes(whole[:length])
    done = run(source, tmp_path / "out")
    assert len(done.refused) > 20
    assert {
        str(error) for _, error in done.refused if not re.search("whole|truncated|found no|without VRs", str(error))
    } == set()
    assert done.n_written <= 1  # a cut right between two elements before the pixels cannot be seen


def test_a_directory_of_media_is_left_out(source: Path, tmp_path: Path, change: Callable[..., None]) -> None:
    dataset = pydicom.dcmread(source / "Real 1" / "0001.dcm")
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.1.3.10"
    dataset.save_as(source / "Real 1" / "DIRECTORY", enforce_file_format=True)
    done = run(source, tmp_path / "out")
    assert (done.n_written, done.n_ignored, done.refused) == (15, 1, [])


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Deidentification, dict[Path, Path]]:
    """Sample files of many scanners, and what becomes of each."""
    if not SHARED.is_dir():
        pytest.skip("needs the project's sample DICOM files beside the checkout")
    out = tmp_path_factory.mktemp("real") / "out"
    source = tmp_path_factory.mktemp("some")
    for folder in {path.parent for path in SHARED.rglob("*") if path.is_file()}:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        for path in files if "idx_" in str(folder) else files[:1]:
            (source / path.relative_to(SHARED)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, source / path.relative_to(SHARED))
    done = deidentify(source, out, pseudonymizer=NAMES, profile=Profile(allow_burned_in=True))
    there = {path.stem: path for path in written(out)}
    names = {path: NAMES.file(os.path.relpath(path, source.parent)) for path in input_files(source, problems=[])}
    return done, {path: there[name] for path, name in names.items() if name in there}


def test_of_real_files_only_broken_ones_are_refused(real: tuple[Deidentification, dict[Path, Path]]) -> None:
    done, pairs = real
    assert done.n_written == len(pairs) > 60
    reasons = [str(error) for _, error in done.refused]
    assert len(reasons) < 10 and all(re.search("truncated|whole|no SOPClass|without VRs", text) for text in reasons)


def test_of_real_files_pydicom_reads_all_and_the_pixels_are_equal(
    real: tuple[Deidentification, dict[Path, Path]],
) -> None:
    for before, after in real[1].items():
        old, new = pydicom.dcmread(before, force=True), pydicom.dcmread(after)
        assert not any(element.tag.is_private for element in new.iterall())
        assert old.get("PixelData") == new.get("PixelData")
        assert new.SOPInstanceUID == new.file_meta.MediaStorageSOPInstanceUID != old.SOPInstanceUID


@pytest.mark.skipif(VALIDATOR is None, reason="needs dciodvfy of dicom3tools")
def test_of_real_files_a_validator_finds_no_error_that_was_not_there(
    real: tuple[Deidentification, dict[Path, Path]],
) -> None:
    one_of_each = {before.parent: (before, after) for before, after in real[1].items()}
    new = [
        (before.name, error)
        for before, after in one_of_each.values()
        if (known := errors_of(before)) != {"read failed"}
        for error in errors_of(after) - known
    ]
    assert new == []


def errors_of(path: Path) -> set[str]:
    """Return the errors that the validator finds, without the values that they name."""
    said = subprocess.run([str(VALIDATOR), str(path)], capture_output=True, text=True, errors="replace", check=False)
    lines = [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")]
    if any("read failed" in line for line in lines):
        return {"read failed"}
    return {re.sub(r"= <[^>]*>|\[[^]]*\]|[\d.]+", "#", line) for line in lines}


def test_the_record_says_which_options_were_taken(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "deidentify.json").read_text())
    assert record["table"] == "DICOM PS3.15 2026c Table E.1-1"
    assert [line[:6] for line in record["methods"]] == ["113100", "113103", "113104", "113105", "113107"]
    assert set(record) == {"made_by", "table", "methods", "key_check"}
