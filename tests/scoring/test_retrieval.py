"""Studies of a DICOMweb service -> a folder: each whole, once, under its pseudonym, whatever fails."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medfuse.errors import ScoringError, UsageError
from medfuse.io import Pseudonymizer
from medfuse.io.dicomweb import DicomWeb
from medfuse.scoring import retrieval, retrieve_studies

pytest.importorskip("dicomweb_client", reason="dicomweb-client is not installed: pip install 'medfuse[dicomweb]'")
UIDS = [f"1.2.826.0.1.777.{number}" for number in range(1, 6)]  # of the service of conftest.py
DEADLINE = 60.0


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
def test_pages_of_any_length_list_every_study_once(service: Any, page: int) -> None:
    service.page = page
    assert [study.study_uid for study in DicomWeb(service.address).studies({})] == UIDS


def test_a_service_that_gives_the_same_page_again_comes_to_an_end(service: Any) -> None:
    service.offsets = False
    assert [study.study_uid for study in DicomWeb(service.address).studies({})] == UIDS[:2]


def test_what_is_there_is_not_fetched_again(service: Any, retrieve: Callable[[], retrieval.Retrieval]) -> None:
    retrieve()
    service.requests.clear()
    done = retrieve()
    assert (done.n_known, done.n_retrieved) == (5, 0)
    assert set(service.requests) == {"studies"}


@pytest.mark.parametrize("counts", [True, False])
def test_a_study_that_grew_is_fetched_again_where_the_service_counts(
    service: Any, retrieve: Callable[[], retrieval.Retrieval], instances: dict[str, list[bytes]], counts: bool
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
    service: Any, retrieve: Callable[[], retrieval.Retrieval], names: Pseudonymizer, fault: str, reason: str
) -> None:
    service.faults[UIDS[2]] = fault
    done = retrieve()
    assert list(done.refused) == [UIDS[2]] and reason in str(done.refused[UIDS[2]])
    assert service.requests[f"studies/{UIDS[2]}"] == 2
    assert set(copies(done.folder)) == {names.study(uid) for uid in UIDS} - {names.study(UIDS[2])}
    service.faults.clear()
    assert retrieve().n_retrieved == 1


def test_a_study_that_breaks_off_once_is_whole_the_second_time(
    service: Any, retrieve: Callable[[], retrieval.Retrieval], instances: dict[str, list[bytes]]
) -> None:
    service.faults[UIDS[1]] = "once"
    done = retrieve()
    assert not done.refused and sorted(instances[UIDS[1]]) in copies(done.folder).values()


def test_an_earlier_copy_stays_where_a_changed_study_does_not_come(
    service: Any,
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
    service: Any, retrieve: Callable[[], retrieval.Retrieval], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medfuse.io.dicomweb.MAX_STUDY_BYTES", 3000)
    assert {str(why) for why in retrieve().refused.values()} == {"study: found more than 0 GB; expected less"}


def test_a_disk_that_fills_stops_the_run_and_what_came_stays(
    service: Any, retrieve: Callable[[], retrieval.Retrieval], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    service: Any, names: Pseudonymizer, tmp_path: Path
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
    service: Any, retrieve: Callable[[], retrieval.Retrieval], tmp_path: Path, instances: dict[str, list[bytes]]
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
        ("400", UsageError, r"found none at this address \(HTTP 400\)"),
        ("503", ScoringError, "HTTP 503"),
    ],
)
def test_what_is_no_service_or_takes_no_question_is_told_apart(
    service: Any, status: str, kind: type[Exception], message: str
) -> None:
    service.faults["all"] = status
    with pytest.raises(kind, match=message):
        list(DicomWeb(service.address).studies({"Modality": "CT"} if "understand" in message else {}))


def test_an_address_where_nobody_answers_is_told(service: Any) -> None:
    with pytest.raises(ScoringError, match="cannot be reached"):
        list(DicomWeb("http://127.0.0.1:9").studies({}))
