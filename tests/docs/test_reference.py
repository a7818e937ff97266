"""The reference pages say what the code says."""

from pathlib import Path

import pytest

from medfuse.models import list_components
from pipelines.reference_pages import components_page, configuration_page, main

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("name", ["configuration.md", "components.md"])
def test_the_page_is_what_the_code_gives(name: str, tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path)]) == 0
    assert (tmp_path / name).read_text() == (DOCS / name).read_text(), "make reference writes it anew"


def test_every_key_has_a_meaning() -> None:
    rows = [line for line in configuration_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert [row for row in rows if row.split("|")[-2].strip() == ""] == []


def test_every_link_of_the_configuration_page_has_its_heading() -> None:
    from re import findall

    page = configuration_page()
    headings = {
        line[3:].lower().replace(".", "").replace(",", "").replace(" ", "-")
        for line in page.splitlines()
        if line.startswith("## ")
    }
    assert set(findall(r"\(#([\w-]+)\)", page)) <= headings


def test_every_component_is_on_its_page() -> None:
    page = components_page()
    for components in list_components().values():
        for name in components:
            assert f"\n### {name}\n" in page
