"""Headers read one after another are those of a reader that reads each on its own, whatever the files have in common."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medfuse.errors import VolumeError
from medfuse.io import tag_walker
from medfuse.io.dicom_headers import read_header
from medfuse.io.tag_walker import HeaderReader

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "dicom"
FOLDERS = sorted({path.parent for path in SHARED.rglob("*") if path.is_file()})
PYDICOM_FILES = sorted((Path(pydicom.__file__).parent / "data" / "test_files").rglob("*.dcm"))
MORE = ("AccessionNumber",)


def outcome(read: Callable[[Path], Any], path: Path) -> object:
    try:
        header = read(path)
    except VolumeError as error:
        return str(error)
    if header is None:
        return None
    return dict(header.values), header.transfer_syntax, header.pixel_offset, header.pixel_length


def assert_equal_one_by_one(paths: Sequence[Path]) -> None:
    reader = HeaderReader(more=MORE)
    for path in paths:
        assert outcome(reader.read, path) == outcome(lambda p: read_header(p, more=MORE), path)


@pytest.fixture
def n_slow(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Gets the files that are not read by what they have in common."""
    paths: list[Path] = []

    def watched(path: Path, *, more: tuple[str, ...] = ()) -> Any:
        paths.append(path)
        return read_header(path, more=more)

    monkeypatch.setattr(tag_walker, "read_header", watched)
    return paths


@pytest.mark.parametrize("folder", FOLDERS or [pytest.param(None, marks=pytest.mark.skip("no ../shared/data/dicom"))])
def test_real_series_are_read_alike(folder: Path) -> None:
    assert_equal_one_by_one(sorted(path for path in folder.iterdir() if path.is_file())[:40] * 2)


def test_unlike_files_in_any_order_are_read_alike() -> None:
    paths = PYDICOM_FILES * 3
    random.Random(0).shuffle(paths)  # noqa: S311 - an order, no secret
    assert_equal_one_by_one(paths)


def image(number: int, *, series: str, values: dict[str, Any]) -> Dataset:
    dataset, item, inner = Dataset(), Dataset(), Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"2.25.1{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.InstanceNumber = "2.25.1", series, number
    dataset.Rows, dataset.Columns, dataset.PixelData = 2, 2, b"12345678"
    dataset.BitsAllocated, dataset.PixelRepresentation = 16, 0
    dataset.ImagePositionPatient = [1.5, -2.25, number * 0.1]
    inner.ReferencedSOPInstanceUID = f"2.25.9{number}"
    item.PurposeOfReferenceCodeSequence = [inner]
    dataset.SourceImageSequence = [item] * (number % 3)
    dataset.add_new((0x0009, 0x0010), "LO", "ACME")
    dataset.add_new((0x0009, 0x1001), "OB", bytes([number % 256]) * (number % 5 * 2))
    dataset.add_new((0x0009, 0x1002), "UN", b"\0\1")
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def save(dataset: Dataset, path: Path, *, syntax: str, undefined: bool, preamble: bool = True) -> Path:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset["SourceImageSequence"].is_undefined_length = undefined
    for item in dataset.SourceImageSequence:
        item.is_undefined_length_sequence_item = undefined
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    if not preamble:
        path.write_bytes(path.read_bytes()[132:])
    return path


VALUES = st.fixed_dictionaries(
    {},
    optional={
        "AccessionNumber": st.sampled_from(["", "A1", "A22"]),
        "PatientID": st.sampled_from(["", "Ann", "Ännä"]),
        "AcquisitionTime": st.from_regex(r"1[0-9]0000(\.[0-9]{1,6})?", fullmatch=True),
        "PixelSpacing": st.lists(st.sampled_from(["0.5", "0.25 ", "1e-1"]), min_size=2, max_size=2),
        "EchoNumbers": st.lists(st.integers(0, 9), max_size=3),
        "PixelPaddingValue": st.integers(0, 65535),
        "ModalityLUTSequence": st.just([Dataset()]),
        "PatientComments": st.text("ab", max_size=9000),
        "RescaleSlope": st.sampled_from(["1", "", "0.5"]),
    },
)
SYNTAXES = (
    ExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(VALUES, min_size=1, max_size=3), st.sampled_from(SYNTAXES), st.booleans(), st.randoms())
def test_series_that_differ_in_anything_are_read_alike(
    kinds: list[dict[str, Any]], syntax: str, undefined: bool, chance: random.Random
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number in range(12):
            dataset = image(number, series=f"2.25.{number // 5}", values=chance.choice(kinds))
            path = Path(folder, f"{number}.dcm")
            preamble = chance.random() < 0.8
            paths.append(save(dataset, path, syntax=syntax, undefined=undefined, preamble=preamble))
        chance.shuffle(paths)
        assert_equal_one_by_one(paths * 2)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1500), st.binary(min_size=1, max_size=6)), min_size=1, max_size=3))
def test_damaged_files_are_read_alike(damages: list[tuple[int, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            save(
                image(n, series="2.25.7", values={}),
                Path(folder, f"{n}.dcm"),
                syntax=ExplicitVRLittleEndian,
                undefined=n % 2 == 0,
            )
            for n in (3, 6, 9)
        ]
        whole = paths[2].read_bytes()
        data = bytearray(whole)
        for place, noise in damages:
            data[place : place + len(noise)] = noise
        paths[2].write_bytes(data[: len(whole)])
        assert_equal_one_by_one([*paths, *paths])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("undefined", [True, False])
def test_only_the_first_files_of_a_series_are_parsed_whole(
    tmp_path: Path, n_slow: list[Path], syntax: str, undefined: bool
) -> None:
    paths = [
        save(image(n, series="2.25.7", values={}), tmp_path / f"{n:03}", syntax=syntax, undefined=undefined)
        for n in range(60)
    ]
    assert_equal_one_by_one(paths)
    assert len(n_slow) < 10


def test_series_whose_files_lie_among_each_other_are_not_parsed_again(tmp_path: Path, n_slow: list[Path]) -> None:
    paths = [
        save(
            image(10 + n, series=f"2.25.{n % 3}", values={"SourceImageSequence": []}),
            tmp_path / f"{n:03}",
            syntax=ExplicitVRLittleEndian,
            undefined=False,
        )
        for n in range(90)
    ]
    assert_equal_one_by_one(paths)
    assert len(n_slow) < 30


def test_header_beyond_the_first_bytes_is_read_on(tmp_path: Path, n_slow: list[Path]) -> None:
    paths = []
    for n in range(20):
        dataset = image(n, series="2.25.7", values={"PatientID": "Ann"})
        dataset.add_new((0x0019, 0x0010), "LO", "ACME")
        dataset.add_new((0x0019, 0x1001), "OB", bytes(50_000))
        paths.append(save(dataset, tmp_path / f"{n:03}", syntax=ExplicitVRLittleEndian, undefined=False))
    assert_equal_one_by_one(paths)
    assert len(n_slow) < 10 and HeaderReader().read(paths[3]).text("InstanceNumber") == "3"  # type: ignore[union-attr]
