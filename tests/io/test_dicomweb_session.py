"""Credentials come from the environment or netrc, and go over no line that others can read."""

from pathlib import Path

import pytest

from medfuse.errors import UsageError
from medfuse.io.dicomweb_session import TOKEN, checked_address, open_session

requests = pytest.importorskip("requests")
pytest.importorskip("dicomweb_client", reason="dicomweb-client is not installed: pip install 'medfuse[dicomweb]'")


@pytest.fixture(autouse=True)
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(TOKEN, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path / "netrc"


def header(address: str) -> str | None:
    session = open_session(address)
    return session.prepare_request(requests.Request("GET", address)).headers.get("Authorization")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("dicomweb:", "found no URL"),
        ("dicomweb:ftp://host/x", "found no URL of http"),
        ("dicomweb:host/dicom-web", "found no URL of http"),
        ("dicomweb:http://host:port/", "found no URL"),
        ("dicomweb:https://user:secret@host/x", "found a user or password"),
        ("dicomweb:https://host/x?token=secret", "found a query"),
    ],
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused(source: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        checked_address(source)
    assert "secret" not in str(caught.value)


def test_a_token_goes_to_https_and_to_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "secret")
    assert header("https://pacs.example/x") == header("http://127.0.0.1:1/x") == "Bearer secret"
    with pytest.raises(UsageError, match="over plain http") as caught:
        open_session("http://pacs.example/x")
    assert "secret" not in str(caught.value)


def test_netrc_is_read_for_its_host_alone(netrc: Path) -> None:
    netrc.write_text("machine pacs.example login user password secret\n")
    netrc.chmod(0o600)
    assert str(header("https://pacs.example/x")).startswith("Basic ")
    assert header("https://other.example/x") is None
    assert header("http://other.example/x") is None
    with pytest.raises(UsageError, match="over plain http"):
        open_session("http://pacs.example/x")


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "dicomweb_client", None)
    with pytest.raises(UsageError, match=r"pip install 'medfuse\[dicomweb\]'"):
        open_session("http://127.0.0.1/x")
