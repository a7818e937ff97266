"""Studies of a DICOMweb service, scored and answered: a small service on this machine that can be told to fail."""

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pydicom
import pytest

from medfuse.cli import main
from medfuse.errors import RetrievalError, ScoringError, UsageError
from medfuse.io import Pseudonymizer, SeriesIdentity, derived_uid, write_dicom_series
from medfuse.io.dicomweb import DicomWeb
from medfuse.io.dicomweb_session import TOKEN
from medfuse.scoring import retrieval, retrieve_studies, store_results
from medfuse.types import Volume

pytest.importorskip("dicomweb_client", reason="dicomweb-client is not installed: pip install 'medfuse[dicomweb]'")
UIDS = [f"1.2.826.0.1.777.{number}" for number in range(1, 6)]
SECRETS = ["SMITH", "1.2.826.0.1.777", "token-of-mine"]
DEADLINE = 60.0


class Service(ThreadingHTTPServer):
    """What a PACS does of QIDO-RS, WADO-RS and STOW-RS. Faults are by study."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.studies: dict[str, list[bytes]] = {}
        self.faults: dict[str, str] = {}
        self.requests: Counter[str] = Counter()
        self.stored: list[bytes] = []
        self.stow, self.token, self.page, self.counts, self.offsets = "json", "", 2, True, True
        self.asked, self.going = threading.Event(), threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/dicom-web"


class Handler(BaseHTTPRequestHandler):
    server: Service

    def log_message(self, *arguments: object) -> None:
        pass

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()  # without a length, as Orthanc answers: the end is where the line is closed
        self.wfile.write(body)

    def do_GET(self) -> None:
        service, asked = self.server, urlsplit(self.path)
        place = asked.path.removeprefix("/dicom-web/").split("/")
        service.requests["/".join(place)] += 1
        if service.token and self.headers.get("Authorization") != f"Bearer {service.token}":
            self._answer(401, "text/html", b"who are you")
        elif "all" in service.faults:
            self._answer(int(service.faults["all"]), "text/html", b"<html>SMITH</html>")
        elif place == ["studies"]:
            self._answer(200, "application/dicom+json", self._page(parse_qs(asked.query)))
        elif place[-1] == "instances":
            uid = parse_qs(asked.query)["SOPInstanceUID"][0]
            found = [{"00080018": {"vr": "UI", "Value": [uid]}}] if uid in map(uid_of, service.stored) else []
            self._answer(200, "application/dicom+json", json.dumps(found).encode())
        else:
            self._send_study(place[1], service.faults.get(place[1], ""))

    def _page(self, query: dict[str, list[str]]) -> bytes:
        service = self.server
        offset, limit = int(query["offset"][0]) if service.offsets else 0, min(int(query["limit"][0]), service.page)
        answer = []
        for uid, instances in list(service.studies.items())[offset : offset + limit]:
            count = {"00201208": {"vr": "IS", "Value": [len(instances)]}} if service.counts else {}
            name = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "SMITH"}]}}
            answer.append({"0020000D": {"vr": "UI", "Value": [uid]}, **count, **name})
        return json.dumps(answer).encode()

    def _send_study(self, uid: str, fault: str) -> None:
        service, instances = self.server, self.server.studies[uid]
        if fault == "hang":
            service.asked.set()
            service.going.wait(DEADLINE)
        if fault.isdigit():
            self._answer(int(fault), "text/plain", b"SMITH is not here")
            return
        if fault == "once":
            service.faults[uid] = ""
        sent = instances[:-1] if fault == "fewer" else instances
        body = b"".join(b"\r\n--xyz\r\nContent-Type: application/dicom\r\n\r\n" + one for one in sent) + b"\r\n--xyz--"
        body = body[: -len(instances[-1]) // 2] if fault in ("broken", "once") else body
        self._answer(200, "text/html" if fault == "html" else 'multipart/related; boundary="xyz"', body)

    def do_POST(self) -> None:
        service = self.server
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        boundary = self.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
        parts = [part.partition(b"\r\n\r\n")[2] for part in body.split(b"\r\n--" + boundary)[1:-1]]
        service.requests["store"] += 1
        if service.stow.isdigit():
            self._answer(int(service.stow), "text/plain", b"SMITH is full")
            return
        service.stored += parts
        for part in parts:
            service.studies[str(pydicom.dcmread(BytesIO(part)).StudyInstanceUID)].append(part)
        items = [{"00081155": {"vr": "UI", "Value": [uid_of(part)]}} for part in parts]
        answer = {"00081199": {"vr": "SQ", "Value": items}} if service.stow == "json" else {}
        self._answer(
            200, "application/dicom+json" if service.stow == "json" else "text/plain", json.dumps(answer).encode()
        )


def uid_of(content: bytes) -> str:
    return str(pydicom.dcmread(BytesIO(content), stop_before_pixels=True).SOPInstanceUID)


@pytest.fixture(scope="module")
def instances(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bytes]]:
    """Five studies, a small CT each."""
    made = {}
    for number, uid in enumerate(UIDS):
        voxels = np.random.default_rng(number).normal(0, 30, (16, 16, 16)).round()
        identity = SeriesIdentity(f"SMITH-{number}", uid, derived_uid("series", uid), derived_uid("frame", uid))
        folder = tmp_path_factory.mktemp("study")
        written = write_dicom_series(Volume(voxels.astype(np.float32), np.eye(4), "HU"), folder, identity=identity)
        made[uid] = [path.read_bytes() for path in written]
    return made


@pytest.fixture
def service(instances: dict[str, list[bytes]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.delenv(TOKEN, raising=False)
    monkeypatch.setattr(retrieval, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(retrieval, "MIN_FREE_BYTES", 0)
    made = Service()
    made.studies = {uid: list(content) for uid, content in instances.items()}
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.going.set()
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def retrieve(service: Service, names: Pseudonymizer, tmp_path: Path) -> Callable[[], retrieval.Retrieval]:
    def run() -> retrieval.Retrieval:
        web = DicomWeb(service.address)
        return retrieve_studies(web, list(web.studies({})), out=tmp_path / "out", names=names, progress=iter)

    return run


def copies(folder: Path) -> dict[str, list[bytes]]:
    return {path.name: sorted(one.read_bytes() for one in path.iterdir()) for path in folder.iterdir()}


def test_every_study_comes_byte_by_byte_under_its_pseudonym(
    retrieve: Callable[[], retrieval.Retrieval], names: Pseudonymizer, instances: dict[str, list[bytes]]
) -> None:
    done = retrieve()
    assert copies(done.folder) == {names.study(uid): sorted(content) for uid, content in instances.items()}
    assert (done.n_retrieved, done.n_known, done.refused) == (5, 0, {})
    assert done.n_bytes == sum(len(one) for content in instances.values() for one in content)


@pytest.mark.parametrize("page", [1, 2, 5, 100])
def test_pages_of_any_length_list_every_study_once(service: Service, page: int) -> None:
    service.page = page
    assert [study.study_uid for study in DicomWeb(service.address).studies({})] == UIDS


def test_a_service_that_gives_the_same_page_again_comes_to_an_end(service: Service) -> None:
    service.offsets = False
    assert [study.study_uid for study in DicomWeb(service.address).studies({})] == UIDS[:2]


def test_what_is_there_is_not_fetched_again(service: Service, retrieve: Callable[[], retrieval.Retrieval]) -> None:
    retrieve()
    service.requests.clear()
    done = retrieve()
    assert (done.n_known, done.n_retrieved) == (5, 0)
    assert set(service.requests) == {"studies"}


@pytest.mark.parametrize("counts", [True, False])
def test_a_study_that_grew_is_fetched_again_where_the_service_counts(
    service: Service, retrieve: Callable[[], retrieval.Retrieval], instances: dict[str, list[bytes]], counts: bool
) -> None:
    service.counts = counts
    retrieve()
    service.studies[UIDS[0]] = [*instances[UIDS[0]], instances[UIDS[1]][0]]
    assert retrieve().n_retrieved == int(counts)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("500", "the service answered HTTP 500"),
        ("404", "the service answered HTTP 404"),
        ("broken", "it ends before its closing boundary"),
        ("fewer", "the service lists 16 instances and sent 15"),
        ("html", "found no multipart/related"),
    ],
)
def test_a_study_that_does_not_come_whole_is_tried_twice_and_refused_alone(
    service: Service, retrieve: Callable[[], retrieval.Retrieval], names: Pseudonymizer, fault: str, reason: str
) -> None:
    service.faults[UIDS[2]] = fault
    done = retrieve()
    assert list(done.refused) == [UIDS[2]] and reason in str(done.refused[UIDS[2]])
    assert service.requests[f"studies/{UIDS[2]}"] == 2
    assert set(copies(done.folder)) == {names.study(uid) for uid in UIDS} - {names.study(UIDS[2])}
    service.faults.clear()
    assert retrieve().n_retrieved == 1


def test_a_study_that_breaks_off_once_is_whole_the_second_time(
    service: Service, retrieve: Callable[[], retrieval.Retrieval], instances: dict[str, list[bytes]]
) -> None:
    service.faults[UIDS[1]] = "once"
    done = retrieve()
    assert not done.refused and sorted(instances[UIDS[1]]) in copies(done.folder).values()


def test_an_earlier_copy_stays_where_a_changed_study_does_not_come(
    service: Service,
    retrieve: Callable[[], retrieval.Retrieval],
    names: Pseudonymizer,
    instances: dict[str, list[bytes]],
) -> None:
    retrieve()
    service.studies[UIDS[0]].append(instances[UIDS[1]][0])
    service.faults[UIDS[0]] = "500"
    done = retrieve()
    assert done.outdated == (names.study(UIDS[0]),) and not done.refused
    assert len(copies(done.folder)[names.study(UIDS[0])]) == 16


def test_more_than_one_study_may_hold_is_refused(
    service: Service, retrieve: Callable[[], retrieval.Retrieval], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medfuse.io.dicomweb.MAX_STUDY_BYTES", 3000)
    assert {str(why) for why in retrieve().refused.values()} == {"study: found more than 0 GB; expected less"}


def test_a_disk_that_fills_stops_the_run_and_what_came_stays(
    service: Service, retrieve: Callable[[], retrieval.Retrieval], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "MIN_FREE_BYTES", 10)
    free = iter([20, 20, 20])
    monkeypatch.setattr(retrieval.shutil, "disk_usage", lambda folder: SimpleNamespace(free=next(free, 5)))
    with pytest.raises(ScoringError, match="is free on its disk"):
        retrieve()
    assert 1 <= len(copies(tmp_path / "out" / "retrieved" / "studies")) < 5
    monkeypatch.setattr(retrieval, "MIN_FREE_BYTES", 0)
    assert retrieve().n_known >= 1


def test_a_service_that_goes_away_stops_the_run_and_refuses_no_study(
    service: Service, names: Pseudonymizer, tmp_path: Path
) -> None:
    web = DicomWeb(service.address)
    listed = list(web.studies({}))
    service.faults["all"] = "503"
    with pytest.raises(ScoringError, match="it does not answer any more"):
        retrieve_studies(web, listed, out=tmp_path / "out", names=names, progress=iter)
    service.faults.clear()
    assert retrieve_studies(web, listed, out=tmp_path / "out", names=names, progress=iter).n_retrieved == 5


KILLED = """
import sys
from pathlib import Path
from medfuse.io import Pseudonymizer
from medfuse.io.dicomweb import DicomWeb
from medfuse.scoring.retrieval import retrieve_studies
web = DicomWeb(sys.argv[1])
retrieve_studies(web, list(web.studies({})), out=Path(sys.argv[2]), names=Pseudonymizer(bytes(range(32))), progress=iter)
"""


def test_after_a_kill_the_rest_comes_and_nothing_twice(
    service: Service, retrieve: Callable[[], retrieval.Retrieval], tmp_path: Path, instances: dict[str, list[bytes]]
) -> None:
    service.faults[UIDS[3]] = "hang"
    process = subprocess.Popen([sys.executable, "-c", KILLED, service.address, str(tmp_path / "out")])
    assert service.asked.wait(DEADLINE)
    process.send_signal(signal.SIGKILL)
    process.wait(DEADLINE)
    service.going.set()
    service.faults.clear()
    record = tmp_path / "out" / "retrieved" / "retrieved.jsonl"
    record.write_text(record.read_text() + '{"study_key": "S12')  # a line that was not finished
    left = tmp_path / "out" / "retrieved" / "studies" / ".S0123456789abcdef.partial"
    left.mkdir()
    service.requests.clear()
    done = retrieve()
    assert (done.n_known, done.n_retrieved) == (3, 2)
    assert {place for place in service.requests if place != "studies"} == {f"studies/{uid}" for uid in UIDS[3:]}
    assert not left.exists()
    assert sorted(copies(done.folder).values()) == sorted(sorted(content) for content in instances.values())
    assert retrieve().n_known == 5


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        ("404", UsageError, r"found none at this address \(HTTP 404\)"),
        ("200", UsageError, r"found none at this address \(HTTP 200\)"),
        ("401", UsageError, "it refused who asks"),
        ("400", UsageError, "the service does not understand it"),
        ("503", ScoringError, "HTTP 503"),
    ],
)
def test_what_is_no_service_or_takes_no_question_is_told_apart(
    service: Service, status: str, kind: type[Exception], message: str
) -> None:
    service.faults["all"] = status
    with pytest.raises(kind, match=message):
        list(DicomWeb(service.address).studies({}))


def test_an_address_where_nobody_answers_is_told(service: Service) -> None:
    with pytest.raises(ScoringError, match="cannot be reached"):
        list(DicomWeb("http://127.0.0.1:9").studies({}))


@pytest.fixture
def command(service: Service, toy_bundle: Path, tmp_path: Path) -> list[str]:
    arguments = ["--model", str(toy_bundle), "--out", str(tmp_path / "out"), "--position", "centre"]
    return ["score", f"dicomweb:{service.address}", *arguments]


def table_of(out: Path) -> pd.DataFrame:
    parts = pd.concat(pd.read_parquet(part) for part in (out / "predictions").glob("part-*.parquet"))
    return parts.sort_values("study_key", ignore_index=True)


def test_a_service_is_scored_as_an_archive_of_the_same_files(
    service: Service, command: list[str], tmp_path: Path, toy_bundle: Path, instances: dict[str, list[bytes]],
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
def test_results_are_stored_once_and_change_no_answer(service: Service, command: list[str], tmp_path: Path) -> None:
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
    assert sorted(map(uid_of, files)) == sorted(map(uid_of, service.stored))
    service.requests.clear()
    assert main([*command, "--store", "--quiet"]) == 0
    assert set(service.requests) == {"studies"}  # nothing sent again, and results are no reason to fetch again
    pd.testing.assert_frame_equal(before, table_of(tmp_path / "out"))
    again = [*command[: command.index("--out")], "--out", str(tmp_path / "later"), "--position", "centre", "--quiet"]
    assert main(again) == 0  # another run, which retrieves the results too
    answers = table_of(tmp_path / "later")
    columns = ["study_key", "lesion_id", "probability_malignancy", "modalities_used"]
    pd.testing.assert_frame_equal(before[columns], answers[columns])


@pytest.mark.parametrize("stow", ["silent", "json"])
def test_an_answer_that_names_nothing_is_asked_after(
    service: Service,
    retrieve: Callable[[], retrieval.Retrieval],
    tmp_path: Path,
    instances: dict[str, list[bytes]],
    stow: str,
) -> None:
    retrieve()
    service.stow = stow
    folder = tmp_path / "out" / "explanations" / "S1-1"
    folder.mkdir(parents=True)
    (folder / "sr.dcm").write_bytes(instances[UIDS[0]][0])
    done = store_results(DicomWeb(service.address), tmp_path / "out", progress=iter)
    assert (done.n_stored, done.refused) == (1, {})
    (folder / "seg.dcm").write_bytes(instances[UIDS[0]][1])
    service.stow = "409"
    done = store_results(DicomWeb(service.address), tmp_path / "out", progress=iter)
    assert [*map(type, done.refused.values())] == [RetrievalError] and [*done.refused] == ["S1-1"]
    assert "409" in str(done.refused["S1-1"])


def test_a_dry_run_lists_and_writes_nothing(
    service: Service, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
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


def test_a_folder_of_another_run_is_refused_before_anything_is_fetched(
    service: Service, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert main(command) == 2
    assert "found other files there" in capsys.readouterr().err
    assert set(service.requests) == {"studies"}
