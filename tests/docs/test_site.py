"""The documentation builds without a broken link, and its Python runs."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medfuse.inference import Predictor
from medfuse.io import write_nifti
from medfuse.types import Volume

ROOT = Path(__file__).resolve().parents[2]
PYTHON = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site"), strict=True)
    build(config)
    page = (tmp_path / "site" / "configuration.html").read_text(encoding="utf-8")
    assert "optim" in page
    pages = {path.name for path in (tmp_path / "site").glob("*.html")}
    assert {f"{path.stem}.html" for path in (ROOT / "docs").glob("*.md")} <= pages
    fetched = re.findall(r'(?:src|href)="(https?://[^"]+)"', page)
    assert [url for url in fetched if "squidfunk" not in url] == []


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.split("\n")[0][:40])
def test_python_of_the_page_runs(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy_bundle: Path, toy_studies: Any
) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "ARCHIVE").mkdir()
    write_nifti(Volume(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "study" / "ct.nii")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    given: dict[str, Any] = {
        "labels": labels, "scores": labels + rng.random(40), "scores_a": rng.random(40), "scores_b": rng.random(40),
        "study": toy_studies[0],
    }  # fmt: skip
    source = block.replace('"study/ct"', '"study/ct.nii"').replace('"RUN/model"', repr(str(toy_bundle)))
    exec(compile(source, "docs/python.md", "exec"), given)  # noqa: S102 - our own page
    if "Predictor" in given:
        assert given["predictor"].predict(toy_studies[0]) and given["Predictor"] is Predictor
    if "report" in given:
        assert given["report"].labels("chest14")
