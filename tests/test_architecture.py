"""Floors and owners of the rooms, held by reading every import with `ast`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FLOORS = {
    "errors": 0.0, "explanation_parts": 0.05, "types": 0.1,
    "memory": 1.0, "progress": 1.0, "whole_files": 1.0, "yaml_files": 0.5, "docstrings": 1.0, "registry": 1.0, "image_config": 1.0, "transfer_config": 1.0,
    "training_config": 1.0, "data_config": 1.05,
    "config": 1.1, "tensors": 1.1, "splits": 1.1,
    "io": 1.5, "text": 1.5, "models": 1.5, "evaluation": 1.5,
    "data": 2, "inference": 3, "reporting": 3, "cohorts": 3,
    "explain": 4, "training": 5, "scoring": 5, "doctor": 5.5, "cli": 6, "pipelines": 6,
}  # fmt: skip
OWNERS = {
    "pydicom": {"io"}, "nibabel": {"io"}, "spacy": {"text"}, "tokenizers": {"text"}, "transformers": {"models"},
    "sklearn.metrics": {"evaluation"}, "sklearn.calibration": {"evaluation"}, "mapie": {"evaluation"},
    "monai.transforms": {"data"}, "captum": {"explain"}, "jinja2": {"reporting"}, "matplotlib": {"reporting"},
    "weasyprint": {"reporting"}, "highdicom": {"reporting"}, "lightning": {"training"}, "mlflow": {"training"},
    "dicomweb_client": {"io"}, "requests": {"io"},
    "optuna": {"training"}, "dask": {"scoring"}, "distributed": {"scoring", "training"},
    "torch": {"tensors", "models", "data", "inference", "explain", "training", "scoring"},
}  # fmt: skip


SHARED_BY_PIPELINES = (
    "pipelines.benchmark_rows.",
    "pipelines.scoring_tools.",
    "pipelines.fault_tools.",
    "pipelines.mutation_tools.",
)
TOOLS = ("scoring_tools", "fault_tools")


def room_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return parts[1] if parts[0] == "medfuse" and len(parts) > 1 else parts[0]


def imports_of(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def violations(root: Path) -> list[str]:
    found = []
    for path in sorted([*root.glob("medfuse/**/*.py"), *root.glob("pipelines/**/*.py")]):
        room, where = room_of(path, root), str(path.relative_to(root))
        if room == "__init__":
            room = "errors"  # medfuse/__init__.py holds the version only
        if room not in FLOORS:
            found.append(f"{where}: a room without a floor")
            continue
        for name in imports_of(path.read_text(encoding="utf-8")):
            top, *rest = name.split(".")
            if not top:
                found.append(f"{where}: relative import {name}")
            if top in ("medfuse", "pipelines"):
                other = rest[0] if top == "medfuse" and rest else top
                if room == "pipelines" and other in ("pipelines", "cli") and not name.startswith(SHARED_BY_PIPELINES):
                    found.append(f"{where}: a pipeline imports {name}")
                elif other in FLOORS and other != room and FLOORS[other] >= FLOORS[room]:
                    found.append(f"{where}: {room} imports {name} from its own floor or above")
            for package, owners in OWNERS.items():
                if room == "pipelines" and (path.name.startswith("benchmark_") or path.parent.name in TOOLS):
                    continue  # it runs the packages that medfuse is measured against, and breaks what they wrote
                if (name == package or name.startswith(f"{package}.")) and room not in owners:
                    found.append(f"{where}: {room} imports {name}, owned by {sorted(owners)}")
    return found


def test_every_import_keeps_to_floors_and_owners() -> None:
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("path", "source", "message"),
    [
        ("medfuse/io/x.py", "from medfuse.data import Preprocessing", "own floor or above"),
        ("medfuse/io/x.py", "def f():\n    import medfuse.text.tokens", "own floor or above"),
        ("medfuse/models/x.py", "import pydicom", "owned by ['io']"),
        ("medfuse/reporting/x.py", "from torch import Tensor", "owned by"),
        ("medfuse/training/x.py", "from sklearn.metrics import roc_auc_score", "owned by ['evaluation']"),
        ("medfuse/data/x.py", "import mlflow.pyfunc", "owned by ['training']"),
        ("medfuse/stray/x.py", "", "a room without a floor"),
        ("medfuse/io/x.py", "from . import nifti", "relative import"),
        ("pipelines/x.py", "from medfuse.cli import main", "a pipeline imports"),
        ("medfuse/errors.py", "from medfuse.types import Volume", "own floor or above"),
        ("pipelines/x.py", "import pydicom", "owned by"),
    ],
)
def test_planted_violation_is_found(tmp_path: Path, path: str, source: str, message: str) -> None:
    planted = tmp_path / path
    planted.parent.mkdir(parents=True)
    planted.write_text(source)
    assert any(message in line for line in violations(tmp_path))


def test_allowed_imports_are_not_reported(tmp_path: Path) -> None:
    allowed = tmp_path / "medfuse" / "data" / "x.py"
    allowed.parent.mkdir(parents=True)
    allowed.write_text("import numpy\nfrom monai.transforms import Affine\nfrom medfuse.io import read_volume\n")
    assert violations(tmp_path) == []
