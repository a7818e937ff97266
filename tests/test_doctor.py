from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medfuse import doctor
from medfuse.cli import main
from medfuse.doctor import Check, examine
from medfuse.io.pseudonyms import load_pseudonymizer


def found(folder: Path) -> dict[str, Check]:
    return {one.name: one for one in examine(folder)}


def test_a_machine_that_runs_the_tests_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checks = found(tmp_path)
    assert checks["Python"].verdict == checks["packages"].verdict == checks["disk"].verdict == "good"
    main(["doctor", "--out", str(tmp_path / "not" / "there")])
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == len(checks) and shown[0].startswith("good    Python")


def test_a_package_of_another_version_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: "0.1" if name == "pydicom" else installed(name))
    packages = found(tmp_path)["packages"]
    assert packages.verdict == "wrong" and "pydicom 0.1, needed >=3.0.2" in packages.found
    assert main(["doctor"]) == 1


def test_a_codec_that_is_absent_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("medfuse.io.transfer_syntaxes.find_spec", lambda name: None if name == "libjpeg" else name)
    assert found(tmp_path)["codecs"] == Check(
        "codecs", "missing", "cannot decode JPEG", "pip install 'medfuse[codecs]'; such series are refused by name"
    )


@pytest.mark.parametrize(("free", "verdict"), [(10 * 2**30, "good"), (2**20, "wrong")])
def test_a_full_disk_is_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, verdict: str) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert found(tmp_path)["disk"].verdict == verdict


@pytest.mark.parametrize(
    ("build", "answer", "verdict"),
    [
        ("2.13.0+cpu", "NVIDIA H200\n", "missing"),
        ("2.13.0+cu130", "NVIDIA H200\n", "good"),
        ("2.13.0+cu130", None, "wrong"),
    ],
)
def test_a_gpu_counts_where_driver_and_build_agree(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, build: str, answer: str | None, verdict: str
) -> None:
    def run(*_: Any, **__: Any) -> SimpleNamespace:
        if answer is None:
            raise subprocess.TimeoutExpired("nvidia-smi", 10)
        return SimpleNamespace(stdout=answer)

    installed = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: build if name == "torch" else installed(name))
    monkeypatch.setattr(doctor.shutil, "which", lambda _: "nvidia-smi")
    monkeypatch.setattr(doctor.subprocess, "run", run)
    assert found(tmp_path)["GPU"].verdict == verdict


def test_a_key_that_others_may_read_is_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDFUSE_CONFIG_DIR", str(tmp_path))
    assert found(tmp_path)["pseudonym key"].verdict == "missing"
    load_pseudonymizer()
    assert found(tmp_path)["pseudonym key"].verdict == "good"
    (tmp_path / "pseudonym.key").chmod(0o644)
    assert found(tmp_path)["pseudonym key"].verdict == "wrong"
