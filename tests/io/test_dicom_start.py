from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.io.dicom_start import read_start
from medfuse.io.pydicom_reading import quiet_pydicom

FILES = sorted((Path(pydicom.__file__).parent / "data" / "test_files").rglob("*.dcm"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_start_is_where_pydicom_finds_it(path: Path) -> None:
    whole = path.read_bytes()[:20_000]
    start = read_start(whole)
    with quiet_pydicom():
        meta = pydicom.dcmread(path, force=True, specific_tags=["TransferSyntaxUID", "SOPClassUID"]).file_meta
    if path.name == "no_meta.dcm":  # it starts with half an element
        assert start is None
        return
    assert start is not None
    named = str(meta.get("TransferSyntaxUID", ""))
    assert start.syntax == named or not named
    assert start.sop_class == str(meta.get("MediaStorageSOPClassUID", ""))
    if meta:
        pydicom.filereader.read_preamble(file := BytesIO(whole), force=True)
        pydicom.filereader._read_file_meta_info(file)
        assert start.offset == file.tell()


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail(head: bytes) -> None:
    start = read_start(head)
    assert start is None or start.offset >= 0
