import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from medfuse.errors import UsageError
from medfuse.io.fingerprint import fingerprint


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    (folder / "a" / "ct").mkdir(parents=True)
    (folder / "a" / "ct" / "1.dcm").write_bytes(b"one")
    (folder / "a" / "report.txt").write_text("FINDINGS: Clear.")
    return folder


CHANGES: dict[str, Callable[[Path], object]] = {
    "a new slice": lambda root: (root / "a" / "ct" / "2.dcm").write_bytes(b"two"),
    "a late report": lambda root: (root / "a" / "ct" / "report.txt").write_text("FINDINGS: A nodule."),
    "an addendum": lambda root: (root / "a" / "report.txt").write_text("FINDINGS: Clear. ADDENDUM: A nodule."),
    "a report of equal length": lambda root: os.utime(root / "a" / "report.txt", ns=(1, 1)),
    "a slice that is gone": lambda root: (root / "a" / "ct" / "1.dcm").unlink(),
    "an empty folder": lambda root: (root / "b").mkdir(),
    "another name": lambda root: (root / "a").rename(root / "c"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changes_is_noticed(archive: Path, change: Callable[[Path], object]) -> None:
    before = fingerprint([archive])
    assert fingerprint([archive]) == before
    change(archive)
    assert fingerprint([archive]) != before


def test_the_folder_of_results_may_lie_within(archive: Path) -> None:
    (archive / "out").mkdir()
    before = fingerprint([archive], without=archive / "out")
    (archive / "out" / "run.json").write_text("{}")
    assert fingerprint([archive], without=archive / "out") == before


def test_a_zip_counts_as_one_file(archive: Path, tmp_path: Path) -> None:
    path = Path(shutil.make_archive(str(tmp_path / "zipped"), "zip", archive))
    before = fingerprint([path])
    with path.open("ab") as file:
        file.write(b"more")
    assert fingerprint([path]) != before


def test_a_place_that_is_gone_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be listed"):
        fingerprint([tmp_path / "gone"])
