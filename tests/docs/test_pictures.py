"""The pictures of the docs are what their command draws, and pages name only pictures that are there."""

import re
from pathlib import Path
from xml.etree import ElementTree

from pipelines.documentation_pictures import PICTURES, Box, data_flow, main

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "pictures"


def test_the_committed_flow_of_data_is_the_one_that_is_drawn(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path)]) == 0
    assert (tmp_path / "data_flow.svg").read_text() == (FOLDER / "data_flow.svg").read_text(), "make pictures draws it"


def test_no_box_of_the_flow_lies_on_another() -> None:
    drawn = ElementTree.fromstring(data_flow())  # noqa: S314 - our own
    boxes = [
        tuple(float(item.attrib[key]) for key in ("x", "y", "width", "height"))
        for item in drawn.iter("{http://www.w3.org/2000/svg}rect")
        if "x" in item.attrib
    ]
    assert len(boxes) == 10
    for number, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, other_width, other_height in boxes[number + 1 :]:
            apart = x + width <= other_x or other_x + other_width <= x
            assert apart or y + height <= other_y or other_y + other_height <= y


def test_a_box_has_room_for_its_lines() -> None:
    assert Box("a", ("b",), 0, 0).height < Box("a", ("b", "c"), 0, 0).height


def test_every_picture_that_a_page_shows_is_there_and_small() -> None:
    shown = {
        name
        for page in (ROOT / "docs").glob("*.md")
        for name in re.findall(r"!\[[^\]]+\]\(pictures/([^)]+)\)", page.read_text(encoding="utf-8"))
    }
    assert shown >= {"data_flow.svg", *(f"{name}.png" for name in PICTURES)}
    assert all((FOLDER / name).stat().st_size < 150_000 for name in shown)


def test_a_folder_without_pages_is_refused_by_name(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path / "out"), "--demo", str(tmp_path)]) == 2
