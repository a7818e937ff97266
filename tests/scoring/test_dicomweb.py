"""`medfuse score dicomweb:URL`, from the list of studies to the results that are stored back."""

from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pydicom
import pytest

from medfuse.cli import main
from medfuse.io.dicomweb_session import TOKEN

pytest.importorskip("dicomweb_client", reason="dicomweb-client is not installed: pip install 'medfuse[dicomweb]'")
UIDS = [f"1.2.826.0.1.777.{number}" for number in range(1, 6)]  # of the service of conftest.py
SECRETS = ["SMITH", "1.2.826.0.1.777", "token-of-mine"]


@pytest.fixture
def command(service: Any, toy_bundle: Path, tmp_path: Path) -> list[str]:
    arguments = ["--model", str(toy_bundle), "--out", str(tmp_path / "out"), "--position", "centre"]
    return ["score", f"dicomweb:{service.address}", *arguments]


def table_of(out: Path) -> pd.DataFrame:
    parts = pd.concat(pd.read_parquet(part) for part in (out / "predictions").glob("part-*.parquet"))
    return parts.sort_values("study_key", ignore_index=True)


def test_a_service_is_scored_as_an_archive_of_the_same_files(
    service: Any, command: list[str], tmp_path: Path, toy_bundle: Path, instances: dict[str, list[bytes]],
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    service.token = SECRETS[-1]
    monkeypatch.setenv(TOKEN, service.token)
    service.faults[UIDS[2]] = "500"
    service.studies[UIDS[4]] = [b"no image at all"]
    assert main([*command, "--debug"]) == 3
    table = table_of(tmp_path / "out")
    refused = table[table["status"] == "refused"].set_index("stage")["reason"]
    assert service.requests[f"studies/{UIDS[2]}"] == 2
    assert refused["retrieve"] == "study: the service answered HTTP 500; expected 200"
    assert "found no image" in refused["read"] and len(refused) == 2
    archive = tmp_path / "archive"
    for uid in (UIDS[0], UIDS[1], UIDS[3]):
        for number, content in enumerate(instances[uid]):
            (archive / uid).mkdir(parents=True, exist_ok=True)
            (archive / uid / f"{number}.dcm").write_bytes(content)
    local = [
        "score",
        str(archive),
        "--model",
        str(toy_bundle),
        "--out",
        str(tmp_path / "local"),
        "--position",
        "centre",
    ]
    assert main(local) == 0
    columns = ["study_key", "probability_malignancy", "flags", "warnings"]
    scored = table[table["status"] == "scored"].reset_index(drop=True)
    pd.testing.assert_frame_equal(scored[columns], table_of(tmp_path / "local")[columns])
    service.faults.clear()
    assert main(["score", "--retry-refused", str(tmp_path / "out")]) == 3
    assert Counter(table_of(tmp_path / "out")["status"]) == {"scored": 4, "refused": 1}
    said = "".join(capsys.readouterr())
    assert "refused S" in said
    written = " ".join(str(path) for path in (tmp_path / "out").rglob("*"))
    texts = [path.read_text() for path in (tmp_path / "out").rglob("*") if path.suffix in (".json", ".jsonl", ".html")]
    assert not [secret for secret in SECRETS for text in (said, written, *texts) if secret in text]


@pytest.mark.slow
def test_results_are_stored_once_and_change_no_answer(service: Any, command: list[str], tmp_path: Path) -> None:
    import highdicom

    service.studies = {uid: service.studies[uid] for uid in UIDS[:2]}
    service.stow = "507"
    assert main([*command, "--store", "--quiet"]) == 3
    assert service.requests["store"] == 4 and not service.stored
    before = table_of(tmp_path / "out")
    service.stow = "json"
    assert main([*command, "--store", "--quiet"]) == 0
    sent = [pydicom.dcmread(BytesIO(one)) for one in service.stored]
    assert {str(one.StudyInstanceUID) for one in sent} == set(UIDS[:2])
    assert Counter(one.Modality for one in sent)["SR"] == 2
    for one in sent:
        if one.Modality == "SEG":
            highdicom.seg.Segmentation.from_dataset(one)
    files = [path.read_bytes() for path in (tmp_path / "out" / "explanations").glob("*/*.dcm")]
    assert sorted(str(pydicom.dcmread(BytesIO(one)).SOPInstanceUID) for one in files) == sorted(service.uids_stored())
    service.requests.clear()
    assert main([*command, "--store", "--quiet"]) == 0
    assert set(service.requests) == {"studies"}  # nothing sent again, and results are no reason to fetch again
    pd.testing.assert_frame_equal(before, table_of(tmp_path / "out"))
    again = [*command[: command.index("--out")], "--out", str(tmp_path / "later"), "--position", "centre", "--quiet"]
    assert main(again) == 0  # another run, which retrieves the results too
    answers = table_of(tmp_path / "later")
    columns = ["study_key", "lesion_id", "probability_malignancy", "modalities_used"]
    pd.testing.assert_frame_equal(before[columns], answers[columns])


def test_a_dry_run_lists_and_writes_nothing(
    service: Any, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--dry-run"]) == 0
    assert "5 studies listed: 0 retrieved, 5 to retrieve with 80 instances" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--num-parts", "2"], "--num-parts: found a DICOMweb service"),
        (["--query", "StudyDat=20240101"], "did you mean 'StudyDate'"),
    ],
)
def test_options_that_do_not_fit_a_service_are_named_and_nothing_is_written(
    command: list[str], more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *more]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("more", [["--store"], ["--query", "StudyDate=20240101"]])
def test_options_of_a_service_are_refused_for_an_archive(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", str(tmp_path), "--model", "m", "--out", str(tmp_path / "out"), *more]) == 2
    assert f"{more[0]}: found an INPUT that is no DICOMweb service" in capsys.readouterr().err


def test_a_query_is_not_passed_over_where_refused_studies_are_tried_again(
    service: Any, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.studies = {UIDS[0]: service.studies[UIDS[0]]}
    assert main([*command, "--quiet"]) == 0
    assert main(["score", "--retry-refused", str(tmp_path / "out"), "--query", "Modality=CT"]) == 2
    assert "--query: found no INPUT" in capsys.readouterr().err
    assert main(["score", "--retry-refused", str(tmp_path / "out"), "--quiet"]) == 0


def test_a_folder_of_another_run_is_refused_before_anything_is_fetched(
    service: Any, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert main(command) == 2
    assert "found other files there" in capsys.readouterr().err
    assert set(service.requests) == {"studies"}
