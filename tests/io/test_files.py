"""What a user points at -> files in a fixed order; DICOMDIR, zip and tar included, and nothing outside."""

from __future__ import annotations

import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet

from medfuse.errors import DataError, VolumeError
from medfuse.io.files import input_files, input_root, is_archive, walk_files

Write = Callable[..., list[Path]]


def listed(path: Path) -> tuple[list[str], dict[str, str]]:
    problems: list[tuple[Path, DataError]] = []
    root = input_root(path)
    files = [file.relative_to(root).as_posix() for file in input_files(path, problems=problems)]
    return files, {place.name: str(error) for place, error in problems}


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_order_is_by_name_folder_by_folder(tmp_path: Path) -> None:
    touch(tmp_path, "b/2", "b/10", "a/z", "c", "a.b/1")
    assert listed(tmp_path) == (["a/z", "a.b/1", "b/10", "b/2", "c"], {})


def test_pipes_sockets_and_links_are_passed_over(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "a/1", "d.dcm/2")
    outside = touch(tmp_path / "outside", "3")
    os.mkfifo(root / "pipe.dcm")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(root)  # a socket's path is short
        try:
            server.bind("socket.dcm")
        finally:
            os.chdir(here)
        for name, target in {"out": outside, "in": root / "a", "loop": root, "nowhere": tmp_path / "absent"}.items():
            (root / name).symlink_to(target)
        files, problems = listed(root)
    assert files == ["a/1", "d.dcm/2"]
    assert sorted(problems) == ["nowhere", "out"] and all("leaves the folder" in text for text in problems.values())


def test_folder_whose_name_starts_alike_is_outside(tmp_path: Path) -> None:
    root, other = touch(tmp_path / "root", "1"), touch(tmp_path / "root2", "2")
    (root / "link").symlink_to(other)
    assert "link" in listed(root)[1]


def test_zip_in_a_folder_is_a_folder_and_one_within_it_stays_closed(tmp_path: Path) -> None:
    inner = tmp_path / "inner.zip"
    with zipfile.ZipFile(inner, "w") as file:
        file.writestr("deep", "x")
    with zipfile.ZipFile(touch(tmp_path / "root", "a") / "b.zip", "w") as file:
        file.write(inner, "inner.zip")
        file.writestr("s/1", "x")
        file.writestr("../evil", "x")
    files, problems = listed(tmp_path / "root")
    assert files == ["a", "b.zip!/inner.zip", "b.zip!/s/1"] and "unsafe name" in problems["evil"]
    assert listed(tmp_path / "root" / "b.zip")[0] == ["inner.zip", "s/1"]
    inside = list(walk_files(tmp_path / "root" / "b.zip!", problems=[]))
    assert [path.name for path in inside] == ["inner.zip", "1"]


def test_what_is_an_archive(tmp_path: Path) -> None:
    touch(tmp_path, "a.zip", "a.tar.gz", "DICOMDIR", "x.dcm", "a.nii.gz")
    names = ("a.zip", "a.tar.gz", "DICOMDIR", "x.dcm", "a.nii.gz", "absent.zip")
    assert [is_archive(tmp_path / name) for name in names] == [True, True, True, False, False, False]
    assert is_archive(tmp_path) and listed(tmp_path / "x.dcm") == (["x.dcm"], {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_folder_that_cannot_be_listed_may_hold_an_image(tmp_path: Path) -> None:
    touch(tmp_path, "closed/1").joinpath("closed").chmod(0)
    problems: list[tuple[Path, DataError]] = []
    try:
        assert list(walk_files(tmp_path, problems=problems)) == []
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert isinstance(problems[0][1], VolumeError)


@pytest.fixture
def medium(tmp_path: Path, write_series: Write) -> Path:
    """A folder with a DICOMDIR as pydicom writes it, and a file that it does not list."""
    fileset = FileSet()
    for path in write_series(tmp_path / "source"):
        dataset = pydicom.dcmread(path)
        dataset.PatientName, dataset.StudyDate, dataset.StudyTime = "Ann", "20200101", "120000"
        dataset.StudyID, dataset.SeriesNumber = "1", 1
        fileset.add(dataset)
    fileset.write(tmp_path / "cd")
    fileset._stage["t"].cleanup()  # pydicom leaves it to the garbage collector
    touch(tmp_path / "cd", "README")
    return tmp_path / "cd"


def test_files_of_a_dicomdir_are_those_that_it_lists(medium: Path) -> None:
    files, problems = listed(medium / "DICOMDIR")
    assert len(files) == 5 and problems == {} and "README" not in files
    assert len(listed(medium)[0]) == 7


def test_file_that_a_dicomdir_lists_but_that_is_missing_is_named(medium: Path) -> None:
    gone = medium / listed(medium / "DICOMDIR")[0][2]
    gone.unlink()
    for path in (medium, medium / "DICOMDIR"):
        (problem,) = listed(path)[1].items()
        assert problem[0] == gone.name and "a listed file that is missing" in problem[1]


def test_letter_case_and_version_numbers_of_a_medium_do_not_matter(medium: Path) -> None:
    for path in sorted(medium.rglob("*"), reverse=True):
        if path.name not in ("DICOMDIR", "README"):
            path.rename(path.with_name(path.name.lower() + (";1" if path.is_file() else "")))
    files, problems = listed(medium / "DICOMDIR")
    assert len(files) == 5 and problems == {} and all(name.endswith(";1") for name in files)


@pytest.mark.filterwarnings("ignore:Invalid value:UserWarning")
@pytest.mark.parametrize("name", [["..", "X"], ["A/B"], ["LINK", "X"]])
def test_listed_file_outside_is_refused(medium: Path, tmp_path: Path, name: list[str]) -> None:
    touch(tmp_path, "X")
    (medium / "LINK").symlink_to(tmp_path)
    dataset = pydicom.dcmread(medium / "DICOMDIR")
    record = Dataset()
    record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", name
    del dataset.DirectoryRecordSequence
    dataset.DirectoryRecordSequence = [record]
    meta = dataset.file_meta
    plain = Dataset({element.tag: element for element in dataset})
    plain.file_meta = meta
    pydicom.dcmwrite(medium / "DICOMDIR", plain, enforce_file_format=True)
    files, problems = listed(medium / "DICOMDIR")
    assert files == [] and len(problems) == 1


@pytest.mark.parametrize("data", [b"", b"no DICOM", b"\0" * 128 + b"DICM" + b"\xff" * 50])
def test_damaged_dicomdir_is_named_and_loses_no_image(medium: Path, data: bytes) -> None:
    (medium / "DICOMDIR").write_bytes(data)
    files, problems = listed(medium)
    assert len(files) == 7 and "a whole DICOMDIR" in problems["DICOMDIR"]
    assert listed(medium / "DICOMDIR")[0] == []
