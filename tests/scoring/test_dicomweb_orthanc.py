"""The whole line against Orthanc: studies out, scores, results back, and found again there."""

import json
import shutil
import subprocess
import urllib.request
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pydicom
import pytest

from medfuse.cli import main

pytestmark = pytest.mark.slow
dicomweb_client = pytest.importorskip("dicomweb_client.api", reason="dicomweb-client is not installed")


def ask(address: str, *, body: bytes | None = None) -> Any:
    with urllib.request.urlopen(urllib.request.Request(address, data=body), timeout=60) as answer:  # noqa: S310
        return answer.read()


def test_studies_are_scored_and_results_found_again(
    orthanc: str, instances: dict[str, list[bytes]], toy_bundle: Path, tmp_path: Path
) -> None:
    for content in list(instances.values())[:3]:
        for one in content:
            ask(f"{orthanc}/instances", body=one)
    lost = instances[list(instances)[1]][5]
    [stored] = [path for path in (tmp_path / "orthanc").glob("??/??/*") if path.read_bytes() == lost]
    content = stored.read_bytes()
    stored.unlink()  # as if a disk had lost it
    out = tmp_path / "out"
    arguments = ["--model", str(toy_bundle), "--out", str(out), "--position", "centre", "--store", "--quiet"]
    command = ["score", f"dicomweb:{orthanc}/dicom-web", *arguments]
    assert main(command) == 3
    table = pd.concat(pd.read_parquet(path) for path in (out / "predictions").glob("*.parquet"))
    assert Counter(zip(table["status"], table["stage"], strict=True)) == {("scored", ""): 2, ("refused", "retrieve"): 1}
    stored.write_bytes(content)
    assert main(command) == 0

    client = dicomweb_client.DICOMwebClient(f"{orthanc}/dicom-web")
    objects = sorted((out / "explanations").glob("*/*.dcm"))
    assert len({path.parent for path in objects}) == 3 and len(objects) >= 9
    for path in objects:
        made = pydicom.dcmread(path)
        uids = (made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID)
        [found] = client.search_for_instances(uids[0], search_filters={"SOPInstanceUID": uids[2]})
        assert found["00080018"]["Value"] == [made.SOPInstanceUID]
        back = client.retrieve_instance(*uids, media_types=(("application/dicom", "*"),))
        assert back == made
        if shutil.which("dciodvfy"):
            assert errors_of(back, tmp_path) == errors_of(made, tmp_path)
    before = json.loads(ask(f"{orthanc}/statistics"))
    assert before["CountInstances"] == 3 * 16 + len(objects)
    assert main(command) == 0
    assert json.loads(ask(f"{orthanc}/statistics")) == before


def errors_of(dataset: pydicom.Dataset, folder: Path) -> list[str]:
    written = BytesIO()
    dataset.save_as(written)
    (folder / "checked.dcm").write_bytes(written.getvalue())
    done = subprocess.run(["dciodvfy", str(folder / "checked.dcm")], capture_output=True, text=True, check=False)
    return [line for line in done.stderr.splitlines() if line.startswith("Error")]
