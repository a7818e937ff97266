"""What an index does beyond one run over one folder: zip, tar and DICOMDIR, the next run, reports from everywhere."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.dataset import Dataset

from medfuse.errors import UsageError
from medfuse.io import (
    Pseudonymizer,
    archive_walk,
    dicom_frames,
    find_studies,
    index_archive,
    read_study,
    read_volumes,
    tag_walker,
    write_nifti,
)
from medfuse.io.archive import plan_index
from medfuse.types import ReportText, Volume

NAMES = Pseudonymizer(bytes(32))
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
Write = Callable[..., list[Path]]


@pytest.fixture
def archive(tmp_path: Path, write_series: Write) -> Path:
    root = tmp_path / "archive"
    for study in (1, 2):
        write_series(root / f"s{study}" / "dicom", study=study)
        (root / f"s{study}" / "report.txt").write_text(f"Report {study}.")
    return root


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Gets the name of each file whose header is read."""
    names: list[str] = []
    original = tag_walker.HeaderReader.read

    def watched(self: tag_walker.HeaderReader, path: Path) -> object:
        names.append(path.name)
        return original(self, path)

    monkeypatch.setattr(archive_walk.HeaderReader, "read", watched)
    return names


def packed(root: Path, path: Path) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for member in sorted(root.rglob("*"), reverse=True):
                file.write(member, member.relative_to(root))
        return path
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as tar:
        tar.add(root, ".")
    return path


def rows(root: Path, **options: object) -> list[dict[str, object]]:
    return index_archive(root, **options).series.astype(object).fillna("").to_dict("records")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_zip_and_tar_are_indexed_and_read_as_the_folder_in_them(
    archive: Path, tmp_path: Path, volume: Volume, name: str
) -> None:
    write_nifti(volume, archive / "n" / "image.nii.gz")
    mask = np.zeros(volume.voxels.shape, bool)
    mask[2:4, 2:4, 2:4] = True
    write_nifti(Volume(mask, volume.affine), archive / "n" / "mask.nii.gz")
    path = packed(archive, tmp_path / name)
    assert rows(path) == rows(archive)
    entries, refused = find_studies(path)
    assert refused.empty and len(entries) == 3
    studies = [read_study(entry, pseudonymizer=NAMES) for entry in entries]
    assert all(np.array_equal(study.volumes["image"].voxels, volume.voxels) for study in studies)
    assert studies[0].report is not None and studies[0].report.text == "Report 1." and len(studies[2].lesions) == 1
    assert len(read_volumes(path)) == 4
    assert sorted(found.name for found in tmp_path.iterdir()) == [name, "archive"]


def test_zip_within_a_folder_is_indexed_in_place(archive: Path) -> None:
    before = rows(archive)[1]
    packed(archive / "s2", archive / "later.zip")
    shutil.rmtree(archive / "s2")
    (after,) = [row for row in rows(archive) if row["study_uid"] == "2.25.2"]
    assert after == before | {"folder": "later.zip!/dicom", "report": "later.zip!/report.txt"}


def test_damaged_zip_within_a_folder_is_an_entry_of_its_own(archive: Path) -> None:
    (archive / "b.zip").write_bytes(b"PK\x03\x04 no zip")
    index = index_archive(archive)
    assert [entry.refusal is None for entry in index.entries()] == [True, True, False]
    assert "zip: cannot be read" in index.refused["reason"].item()


def test_unsafe_members_are_named_and_the_studies_beside_them_stay(archive: Path, tmp_path: Path) -> None:
    path = packed(archive, tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("../../evil", b"x")
    entries, refused = find_studies(path)
    assert [entry.refusal for entry in entries] == [None, None] and "unsafe name" in refused["reason"].item()
    with tarfile.open(tmp_path / "only.tar", "w") as tar:
        entry = tarfile.TarInfo("link")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(entry)
        tar.addfile(tarfile.TarInfo("link/file"), io.BytesIO())
    with pytest.raises(UsageError, match="no study, and refused: tar member: found a link"):
        find_studies(tmp_path / "only.tar")


def test_slice_that_a_dicomdir_lists_but_that_is_missing_refuses_its_series(archive: Path) -> None:
    folder = archive / "s1" / "dicom"
    records = []
    for path in sorted(folder.iterdir()):
        record = Dataset()
        record.DirectoryRecordType = "IMAGE"
        record.ReferencedFileID = ["S1", "DICOM", path.stem]
        records.append(record)
        path.rename(path.with_suffix(""))
    directory = Dataset()
    directory.file_meta = pydicom.dcmread(folder / "0001").file_meta
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    directory.DirectoryRecordSequence = records
    pydicom.dcmwrite(archive / "DICOMDIR", directory, enforce_file_format=True)
    assert rows(archive / "DICOMDIR") == [row | {"report": ""} for row in rows(archive)[:1]]
    (folder / "0005").unlink()  # the last one: without the list nobody would miss it
    bad, good = index_archive(archive).entries()
    assert bad.refusal is not None and good.refusal is None
    assert any("a listed file that is missing" in reason for reason in index_archive(archive).refused["reason"])


def test_next_run_reads_only_what_is_new_or_changed(
    archive: Path, tmp_path: Path, read_files: list[str], change: Callable[..., None]
) -> None:
    cache = tmp_path / "cache"
    (archive / "junk.bin").write_bytes(b"junk" * 99)
    first = rows(archive, cache=cache)
    assert len(read_files) == 11
    read_files.clear()
    assert rows(archive, cache=cache) == first and read_files == []
    assert plan_index(archive, cache=cache) == (13, 0)
    shutil.copy(archive / "s2" / "dicom" / "0002.dcm", archive / "s2" / "new.dcm")
    os.utime(archive / "junk.bin", ns=(1, 1))
    (archive / "s1" / "dicom" / "0001.dcm").unlink()
    change(archive / "s1" / "dicom" / "0005.dcm", ConvolutionKernel="B70f")
    assert plan_index(archive, cache=cache) == (13, 3)
    assert rows(archive, cache=cache) == rows(archive) != first
    assert read_files[:3] == ["junk.bin", "0005.dcm", "new.dcm"]
    assert plan_index(archive, cache=tmp_path / "absent") == (13, 13) and not (tmp_path / "absent").exists()


def test_next_run_opens_no_image_to_judge_it_again(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (archive / "s1" / "dicom").iterdir():  # copies: their pixels are compared
        shutil.copy(path, path.with_suffix(".copy"))
    first = rows(archive, cache=tmp_path / "cache")
    assert "duplicate" in str(first[0]["warnings"])

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("a file is opened")

    monkeypatch.setattr("medfuse.io.inflating.open_bytes", opened)
    monkeypatch.setattr(dicom_frames, "expand", opened)
    assert rows(archive, cache=tmp_path / "cache") == first


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_next_run_knows_the_members_of_an_unchanged_zip(
    archive: Path, tmp_path: Path, read_files: list[str], name: str
) -> None:
    path = packed(archive, tmp_path / name)
    first = rows(path, cache=tmp_path / "cache")
    read_files.clear()
    assert rows(path, cache=tmp_path / "cache") == first and read_files == []


def test_what_could_not_be_read_is_tried_again(archive: Path, tmp_path: Path) -> None:
    path = archive / "s1" / "dicom" / "0003.dcm"
    whole, stamp = path.read_bytes(), path.stat().st_mtime_ns
    path.write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * (len(whole) - 132))
    os.utime(path, ns=(stamp, stamp))
    assert not index_archive(archive, cache=tmp_path / "cache").refused.empty
    path.write_bytes(whole)
    os.utime(path, ns=(stamp, stamp))
    assert index_archive(archive, cache=tmp_path / "cache").refused.empty


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("place", [0, 5000, 20_000])
def test_damaged_cache_is_made_anew(
    archive: Path, tmp_path: Path, place: int, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "cache"
    first = rows(archive, cache=cache)
    data = bytearray(cache.read_bytes())
    data[place:] = np.random.default_rng(seed).bytes(len(data) - place) if place else b"\0" * len(data)
    cache.write_bytes(data)
    assert rows(archive, cache=cache) == first and "damaged" in caplog.text
    assert rows(archive, cache=cache) == first


def test_run_that_was_killed_goes_on(archive: Path, tmp_path: Path, write_series: Write, read_files: list[str]) -> None:
    for number in range(3, 120):
        write_series(archive / f"s{number:03}", study=number)
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom medfuse.io import index_archive\n"
        "def count(files):\n"
        "    for number, file in enumerate(files):\n"
        "        if number == 500: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        yield file\n"
        "index_archive(Path(sys.argv[1]), cache=Path(sys.argv[2]), count=count)\n"
    )
    command = [sys.executable, "-c", code, str(archive), str(tmp_path / "cache")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    index = index_archive(archive, cache=tmp_path / "cache")
    assert len(index.series) == 119 and len(read_files) <= 119 * 5 + 2 - 500 + 250


def test_stopped_run_keeps_what_it_read(archive: Path, tmp_path: Path, read_files: list[str]) -> None:
    def stopped(files: Iterable[Path]) -> Iterator[Path]:
        for number, file in enumerate(files):
            if number == 7:
                raise KeyboardInterrupt
            yield file

    with pytest.raises(KeyboardInterrupt):
        index_archive(archive, cache=tmp_path / "cache", count=stopped)
    read_files.clear()
    assert rows(archive, cache=tmp_path / "cache") == rows(archive)
    assert len(read_files) == 4 + 10  # what was left, and all of it again without the cache


def test_index_is_the_same_in_whatever_order_files_are_found(
    archive: Path, write_series: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(archive / "s2" / "more", study=2, series=2)
    first = index_archive(archive)
    original = os.scandir

    class Reversed:
        def __init__(self, path: Path) -> None:
            self.entries = list(original(path))[::-1]

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None:
            return

    monkeypatch.setattr(os, "scandir", Reversed)
    again = index_archive(archive)
    pd.testing.assert_frame_equal(first.series, again.series)
    pd.testing.assert_frame_equal(first.refused, again.refused)


def test_relative_and_odd_roots_are_the_same_archive(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rows(archive)
    monkeypatch.chdir(archive)
    assert rows(Path()) == rows(Path("../archive")) == rows(Path("s1/..")) == first
    (archive / "s1").rename(os.fsdecode(os.fsencode(archive) + b"/s\xff\xfe"))
    assert [row["study_uid"] for row in rows(Path())] == ["2.25.1", "2.25.2"]
    assert read_study(index_archive(".").entries()[0], pseudonymizer=NAMES).report is not None


def test_verdict_is_what_reading_finds() -> None:
    """Each shared series: what the index calls volumes is what `read_volumes` reads, and the rest it refuses."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared/data")
    folders = sorted({path.parent for path in (SHARED / "faults").glob("*/dicom/*") if path.is_file()})
    for folder in folders:
        if folder.parent.name.startswith("pix_"):
            continue  # pixels are judged when they are read
        index = index_archive(folder)
        try:
            n_read = len(read_volumes(folder))
        except Exception:
            n_read = 0
        n_judged = 0 if len(index.refused) else int(index.series["n_volumes"].sum())
        assert n_judged == n_read or folder.parent.name.startswith("id_"), folder.parent.name


def test_row_says_where_the_axes_run_and_what_was_noticed(archive: Path) -> None:
    row = rows(archive)[0]
    assert row["orientation"] == "LPS" and row["n_slices"] == 5 and row["n_volumes"] == 1 and row["warnings"] == ""


def sr_text(text: str) -> Dataset:
    dataset = Dataset()
    dataset.RelationshipType, dataset.ValueType, dataset.TextValue = "CONTAINS", "TEXT", text
    return dataset


def test_structured_report_of_a_study_is_its_report(archive: Path, write_sr: Callable[..., Path]) -> None:
    write_sr(archive / "sr.dcm", [sr_text("From the SR.")])
    first, second = index_archive(archive).entries()
    assert first.report == archive / "s1" / "report.txt"
    assert "report file beside" in str(index_archive(archive).series["warnings"][0])
    (archive / "s1" / "report.txt").unlink()
    write_sr(archive / "addendum.dcm", [sr_text("More.")], ContentDate="20240105", PreliminaryFlag="FINAL",
             ConceptNameCodeSequence=[named("Addendum")])  # fmt: skip
    first, second = index_archive(archive).entries()
    assert isinstance(first.report, ReportText) and first.report.text == "From the SR.\n\nMore."
    assert second.report == archive / "s2" / "report.txt"
    write_sr(archive / "other.dcm", [sr_text("Contradiction.")])
    assert "reports for one study" in str(index_archive(archive).entries()[0].refusal)
    (archive / "other.dcm").write_bytes((archive / "other.dcm").read_bytes()[:-30])
    index = index_archive(archive)
    assert any("structured report" in reason for reason in index.refused["reason"])


def named(meaning: str) -> Dataset:
    dataset = Dataset()
    dataset.CodeMeaning = meaning
    return dataset


def test_reports_pair_by_accession_number_and_a_mismatch_is_refused(
    archive: Path, tmp_path: Path, change: Callable[..., None]
) -> None:
    for study in (1, 2):
        for path in (archive / f"s{study}" / "dicom").iterdir():
            change(path, AccessionNumber=f"A{study}")
    table = tmp_path / "r.csv"
    table.write_text("accession_number,report_text\nA2,Second.\nA9,Nobody's.\n")
    index = index_archive(archive, reports=table)
    first, second = index.entries()
    assert first.report is None and isinstance(second.report, ReportText) and index.n_unpaired == 1
    table.write_text("study_uid,accession_number,report_text\n2.25.1,A2,Whose?\n2.25.2,A2,Second.\n")
    index = index_archive(archive, reports=table)
    first, second = index.entries()
    assert "AccessionNumber" in str(first.refusal) and second.refusal is None
    assert index.refused["study_uid"].tolist() == ["2.25.1"]


def test_no_accession_number_and_no_text_is_saved(archive: Path, tmp_path: Path, change: Callable[..., None]) -> None:
    for path in (archive / "s1" / "dicom").iterdir():
        change(path, AccessionNumber="SECRET7")
    table = tmp_path / "r.csv"
    table.write_text("accession_number,report_text\nSECRET7,Hidden words.\n")
    index_archive(archive, reports=table).save(tmp_path / "out", pseudonymizer=NAMES)
    data = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert b"SECRET7" not in data and b"Hidden" not in data
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["studies_with_report"] == 1
