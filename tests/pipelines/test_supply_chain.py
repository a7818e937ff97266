"""What is locked is named with its licence, and holds no version with a known hole."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pipelines import supply_chain
from pipelines.supply_chain import DATA, LOCK, Package, own_requirements, read_lock, sbom

ROOT = Path(__file__).resolve().parents[2]
COPYLEFT = re.compile(r"\b(A?GPL|GNU (Affero )?General)", re.IGNORECASE)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def packages() -> list[Package]:
    return list(read_lock((ROOT / LOCK).read_text(encoding="utf-8")))


def test_the_page_names_every_locked_package_and_no_other(packages: list[Package]) -> None:
    page = (ROOT / "docs" / "supply_chain.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w.-]+) \| (\d\S*) \| ([^|]+) \|", page, re.MULTILINE)
    assert {(name, number) for name, number, _ in rows} == {(one.name, one.version) for one in packages}
    assert len(packages) > 100


def test_every_package_of_every_run_states_a_licence_that_lets_it_be_used(packages: list[Package]) -> None:
    runs = [one for one in packages if one.use == "every run"]
    assert {"pydicom", "torch", "monai", "lightning"} <= {one.name for one in runs}
    for one in runs:
        assert one.licence and not (COPYLEFT.search(one.licence) and "LGPL" not in one.licence), one.name


def test_every_data_file_of_the_package_is_in_the_table() -> None:
    for path in ROOT.glob("medfuse/*/data/*"):
        if path.is_file() and path.suffix != ".py":
            name = path.relative_to(ROOT)
            assert str(name) in DATA or str(name.parent) in DATA, name


@pytest.mark.parametrize(
    ("name", "refused", "taken"),
    [
        ("pydicom", ["3.0.1"], "3.0.2"),
        ("monai", ["1.6.0"], "1.6.1"),
        ("torch", ["2.9.1"], "2.10.0"),
        ("lightning", ["2.6.2", "2.6.3"], "2.6.6"),
    ],
)
def test_versions_with_known_holes_are_excluded(name: str, refused: list[str], taken: str) -> None:
    [need] = [one for one in map(Requirement, own_requirements()) if one.name == name and one.marker is None]
    assert not any(need.specifier.contains(number) for number in refused)
    assert need.specifier.contains(taken)


def test_the_bill_of_materials_names_each_package_once_with_its_sums(packages: list[Package]) -> None:
    content = json.loads(json.dumps(sbom(packages)))
    assert (content["bomFormat"], content["specVersion"]) == ("CycloneDX", "1.6")
    purls = [one["purl"] for one in content["components"]]
    assert len(purls) == len(set(purls)) == len(packages)
    pydicom = next(one for one in content["components"] if one["name"] == "pydicom")
    assert pydicom["scope"] == "required" and pydicom["licenses"]
    assert all(re.fullmatch("[0-9a-f]{64}", digest["content"]) for digest in pydicom["hashes"])


def test_the_command_writes_both(tmp_path: Path) -> None:
    assert supply_chain.main(["--page", str(tmp_path / "a.md"), "--sbom", str(tmp_path / "dist" / "b.json")]) == 0
    assert (tmp_path / "a.md").read_text().startswith("# What medfuse brings")
    assert json.loads((tmp_path / "dist" / "b.json").read_text())["components"]
