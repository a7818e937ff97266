"""The page on extending does what it says: its package is built, installed and held to the contract."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(
    r"```(\w+)\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"), flags=re.DOTALL
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the page's package is installed."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    code = dict(BLOCKS)
    (source / "maximum_fusion.py").write_text(code["python"])
    (source / "pyproject.toml").write_text(code["toml"])
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--disable-pip-version-check", "--target", str(target), str(source)], check=True)
    return {**os.environ, "PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"}


def run(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_installed_fusion_is_listed_with_its_option(environment: dict[str, str]) -> None:
    shown = run(environment, "-c", "from medfuse.cli import main; main(['models'])")
    assert (
        "  maximum: Keep, of each number, the largest among the modalities that a case has.\n      scale = 1.0" in shown
    )


def test_an_installed_fusion_is_held_to_the_contract(environment: dict[str, str]) -> None:
    tests = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contracts/test_fusions.py", "-k", "maximum")
    assert re.search(r"\b(\d\d?) passed", run(environment, *tests))


def test_a_configuration_names_an_installed_fusion_and_its_option(environment: dict[str, str]) -> None:
    code = """
from pathlib import Path
from medfuse.config import load_config
from medfuse.models import build_model
config = load_config(Path("configs/lidc.yaml"), overrides=["model.fusion={name: maximum, scale: 0.5}"])
targets = [target.build() for target in config.targets]
model = build_model(config.model, targets=targets, in_channels=1, image_size=(32, 32, 32), vocabulary_size=50)
print(type(model.fusion).__name__, float(model.fusion.scale[0]))
"""
    assert run(environment, "-c", code).split() == ["MaximumFusion", "0.5"]
