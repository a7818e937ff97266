"""A DICOMweb service on this machine that can be told to fail, and Orthanc where it is installed."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pydicom
import pytest

from medfuse.io import Pseudonymizer, SeriesIdentity, derived_uid, write_dicom_series
from medfuse.io.dicomweb_session import TOKEN
from medfuse.scoring import retrieval
from medfuse.types import Volume

UIDS = [f"1.2.826.0.1.777.{number}" for number in range(1, 6)]
DEADLINE = 60.0
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


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

    def uids_stored(self) -> list[str]:
        return [uid_of(one) for one in self.stored]

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
    """Retrieve into tmp_path / "out" whatever the service lists."""
    pytest.importorskip("dicomweb_client", reason="dicomweb-client is not installed: pip install 'medfuse[dicomweb]'")
    from medfuse.io.dicomweb import DicomWeb

    def run() -> retrieval.Retrieval:
        web = DicomWeb(service.address)
        return retrieval.retrieve_studies(web, list(web.studies({})), out=tmp_path / "out", names=names, progress=iter)

    return run


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[str]:
    """Return the address of an Orthanc of this test's own."""
    if shutil.which("Orthanc") is None or not PLUGIN.exists():
        pytest.skip("Orthanc is not installed: apt-get install orthanc orthanc-dicomweb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    storage = str(tmp_path / "orthanc")
    settings = {
        "StorageDirectory": storage, "IndexDirectory": storage, "Plugins": [str(PLUGIN)], "HttpPort": port,
        "DicomServerEnabled": False, "MaximumStorageCacheSize": 0, "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }  # fmt: skip
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    process = subprocess.Popen(["Orthanc", str(tmp_path / "orthanc.json")], stderr=subprocess.DEVNULL)
    try:
        _wait_for(f"http://127.0.0.1:{port}/system", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(DEADLINE)


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + DEADLINE
    while time.monotonic() < ends and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()  # noqa: S310 - this machine's own
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("Orthanc did not start")
