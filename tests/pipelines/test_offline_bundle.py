"""The offline bundle holds what medfuse needs and nothing beyond it, and its script installs from it alone."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from pipelines import offline_bundle
from pipelines.offline_bundle import EXTRAS, finish, kept_lines, needed

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def names_of(lock: str) -> set[str]:
    return {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", lock, flags=re.MULTILINE)}


def test_what_is_needed_is_locked_and_what_was_not_asked_for_stays_out() -> None:
    wanted = needed(EXTRAS)
    assert wanted <= names_of(LOCK)
    assert wanted >= {"numpy", "pydicom", "mlflow", "weasyprint", "pylidc", "transformers", "pydyf"}
    assert wanted & {"torch", "pytest", "ruff", "mkdocs-material", "pylibjpeg-libjpeg"} == set()


def test_kept_entries_bring_all_their_hashes() -> None:
    kept = kept_lines(LOCK, {"numpy", "jinja2"})
    assert names_of(kept) == {"numpy", "jinja2"}
    entry = LOCK[LOCK.index("\njinja2==") + 1 :]
    assert entry[: entry.index("\n", entry.index("--hash"))] in kept
    assert kept.count("--hash=sha256:") > 4


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "medfuse-0.1.0-bundle"
    (folder / "wheels").mkdir(parents=True)
    (folder / "wheels" / "one.whl").write_bytes(b"a wheel")
    (folder / "requirements.lock").write_text("one==1\n")
    monkeypatch.chdir(ROOT)
    finish(folder)
    return folder


def test_every_file_has_its_checksum_and_names_no_host(bundle: Path) -> None:
    sums = dict(reversed(line.split("  ")) for line in (bundle / "SHA256SUMS").read_text().splitlines())
    assert sums["wheels/one.whl"] == hashlib.sha256(b"a wheel").hexdigest()
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert set(sums) == files - {"SHA256SUMS"} and {"install.sh", "configs/lidc.yaml", "LICENSE"} <= files
    assert "://" not in (bundle / "install.sh").read_text()
    with tarfile.open(bundle.with_name(f"{bundle.name}.tar")) as tar:
        assert f"{bundle.name}/install.sh" in tar.getnames()


def test_a_changed_file_is_refused_before_anything_is_installed(bundle: Path, tmp_path: Path) -> None:
    (bundle / "wheels" / "one.whl").write_bytes(b"another")
    done = subprocess.run(
        ["sh", str(bundle / "install.sh"), str(tmp_path / "env")], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and not (tmp_path / "env").exists()


def test_another_python_is_refused(bundle: Path, tmp_path: Path) -> None:
    script = (bundle / "install.sh").read_text().replace(f'!= "{offline_bundle.python_of()}"', '!= "2.7"')
    (bundle / "install.sh").write_text(script)
    done = subprocess.run(
        ["sh", str(bundle / "install.sh"), str(tmp_path / "env")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "error: found Python" in done.stderr and not (tmp_path / "env").exists()
