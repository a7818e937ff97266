from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from multiprocessing import get_context
from pathlib import Path

import pytest

from medfuse.errors import UsageError
from medfuse.io import Pseudonymizer, load_pseudonymizer

KEY = bytes(range(32))


def test_pseudonym_is_the_hmac_of_kind_and_id() -> None:
    expected = hmac.new(KEY, b"study\x1f1.2.3", hashlib.sha256).hexdigest()[:16]
    assert Pseudonymizer(KEY).study("1.2.3") == "S" + expected


def test_pseudonyms_have_their_form_and_depend_on_key_and_kind() -> None:
    names, other = Pseudonymizer(KEY), Pseudonymizer(bytes(32))
    assert re.fullmatch("P[0-9a-f]{16}", names.patient("Ann")) and re.fullmatch("S[0-9a-f]{16}", names.study("Ann"))
    digests = {names.patient("Ann")[1:], names.study("Ann")[1:], names.series("Ann")[1:], other.patient("Ann")[1:]}
    assert len(digests) == 4


def test_key_is_made_once_and_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDFUSE_CONFIG_DIR", str(tmp_path / "new"))
    first, second = load_pseudonymizer(), load_pseudonymizer()
    assert first == second
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["pseudonym.key"]
    assert stat.S_IMODE((tmp_path / "new" / "pseudonym.key").stat().st_mode) == 0o600


def test_key_is_not_shown() -> None:
    assert KEY.hex()[:8] not in repr(Pseudonymizer(KEY)) and "\\x01" not in repr(Pseudonymizer(KEY))


def _load(folder: str) -> bytes:
    os.environ["MEDFUSE_CONFIG_DIR"] = folder
    return load_pseudonymizer().key


def test_processes_that_start_together_get_one_key(tmp_path: Path) -> None:
    with get_context("spawn").Pool(4) as pool:
        keys = pool.map(_load, [str(tmp_path / "shared")] * 12)
    assert len(set(keys)) == 1


@pytest.mark.parametrize("content", ["", "00" * 31, "not a key", "00" * 33])
def test_wrong_key_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "k"
    path.touch(0o600)
    path.write_text(content)
    with pytest.raises(UsageError, match="key"):
        load_pseudonymizer(path)


def test_key_that_others_may_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_text("00" * 32)
    path.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        load_pseudonymizer(path)


def test_named_key_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load_pseudonymizer(tmp_path / "absent")
