"""The notebook runs from top to bottom on what `make demo` leaves, and is kept without outputs."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = json.loads((Path(__file__).resolve().parents[2] / "docs" / "first_hour.ipynb").read_text(encoding="utf-8"))
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_it_holds_no_output() -> None:
    cells = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert cells and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


@pytest.mark.slow
def test_it_runs(reader: Path) -> None:
    given: dict[str, Any] = {}
    shown = [_run(cell, given) for cell in CODE]
    assert len(shown) == len(CODE) and all(one is not None for one in shown)
    assert all((reader / page / "report.html").exists() for page in given["pages"]) and given["pages"]
    assert sum(given["prediction"].probabilities["fused"]) == pytest.approx(1)


def _run(cell: str, given: dict[str, Any]) -> Any:
    """Run a cell as a notebook does; return the value of its last line."""
    *first, last = ast.parse(cell).body
    exec(compile(ast.Module(first, []), "first_hour.ipynb", "exec"), given)  # noqa: S102 - our own cells
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), "first_hour.ipynb", "eval"), given)  # noqa: S307
