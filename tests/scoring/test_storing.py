"""Results go back to the service: each once, and only what the service has taken counts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medfuse.errors import RetrievalError
from medfuse.io.dicomweb import DicomWeb
from medfuse.scoring import retrieval, store_results

pytest.importorskip("dicomweb_client", reason="dicomweb-client is not installed: pip install 'medfuse[dicomweb]'")
UIDS = [f"1.2.826.0.1.777.{number}" for number in range(1, 6)]  # of the service of conftest.py


@pytest.mark.parametrize("stow", ["silent", "json"])
def test_an_answer_that_names_nothing_is_asked_after(
    service: Any,
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
