import json
from pathlib import Path

import pytest

from pipelines import performance_page

ROW = {"name": "reading", "ours": 2.0, "theirs": 6.0, "ratio": 3.0, "unit": "ms", "command": "make"}


def test_the_page_holds_every_row_and_marks_a_missed_aim(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(json.dumps([{**ROW, "aim": 4}, {**ROW, "name": "growing"}]))
    (tmp_path / "training.json").write_text(json.dumps([{**ROW, "name": "a step", "aim": 3}]))
    arguments = ["--folder", str(tmp_path), "--page", str(tmp_path / "page.md")]
    assert performance_page.main(arguments) == 0
    page = (tmp_path / "training.md").read_text()
    assert "| reading | 2 | 6 | ms | 3 | **missed**: 4 |" in page
    assert "| growing | 2 | 6 | ms | 3 |  |" in page
    assert "| a step | 2 | 6 | ms | 3 | 3 |" in page


def test_a_part_without_figures_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data.json").write_text(json.dumps([ROW]))
    assert performance_page.main(["--folder", str(tmp_path), "--page", str(tmp_path / "page.md")]) == 1
    assert "training.json: found no figures" in capsys.readouterr().err


def test_the_page_of_the_site_holds_every_part_with_its_command(tmp_path: Path) -> None:
    for part in ("io", "data", "new_part"):
        (tmp_path / f"{part}.json").write_text(
            json.dumps([{**ROW, "name": f"row of {part}", "command": f"make {part}"}])
        )
    page = performance_page.site_page(tmp_path)
    for part, title in {"io": "Reading and indexing", "data": "Preparing images", "new_part": "new_part"}.items():
        assert f"## {title}" in page and f"By `make {part}`." in page and f"| row of {part} |" in page
