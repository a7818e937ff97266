"""The wheel holds all that medfuse needs and runs outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


def run(*arguments: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, **environment}, cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run("-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    (built,) = folder.glob("medfuse-*.whl")
    return built


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder far from the checkout, and an environment in which the wheel is what is imported."""
    site, folder = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("elsewhere")
    run("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", site, wheel)
    return folder, {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "medfuse").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {Path(name).suffix for name in files} >= {".py", ".toml", ".html", ".css", ".yaml", ".txt"}
    assert files - held == set()
    configs = {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.yaml")}
    shared = "medfuse-{}.data/data/share/medfuse/".format(wheel.name.split("-")[1])
    assert {shared + name for name in configs} <= held


def test_it_runs_outside_the_checkout(elsewhere: tuple[Path, dict[str, str]]) -> None:
    folder, environment = elsewhere
    command = Path(environment["PYTHONPATH"]) / "bin" / "medfuse"
    where = run("-c", "import medfuse; print(medfuse.__file__)", cwd=folder, **environment)
    assert where.startswith(environment["PYTHONPATH"])
    assert run(command, "--version", cwd=folder, **environment).startswith("medfuse ")
    assert "torch" in run(command, "doctor", cwd=folder, **environment)
    assert "small_cnn" in run(command, "models", cwd=folder, **environment)


def test_it_reads_a_report_and_shows_it(elsewhere: tuple[Path, dict[str, str]]) -> None:
    folder, environment = elsewhere
    (folder / "report.txt").write_text("FINDINGS: No pleural effusion.")
    command = Path(environment["PYTHONPATH"]) / "bin" / "medfuse"
    run(command, "annotate", "report.txt", "--out", "out.jsonl", "--html", "page.html", cwd=folder, **environment)
    assert '"absent"' in (folder / "out.jsonl").read_text() and "<style>" in (folder / "page.html").read_text()
