"""Every command that a page names exists, with every option; every piece of Python is Python."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from medfuse.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.fixture(scope="module")
def group() -> Any:
    return typer.main.get_command(app())


def parse(group: Any, arguments: list[str]) -> None:
    """Parse a command as the command line does, without running it; refuse what it would refuse."""
    name, context = "medfuse", None
    while hasattr(group, "commands"):
        context = group.make_context(name, arguments, parent=context, resilient_parsing=True)
        name, group, arguments = group.resolve_command(context, arguments)
    group.make_context(name, arguments, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_understood(page: Path, group: Any, blocks_of: Callable[[Path], list[Any]]) -> None:
    for block in blocks_of(page):
        for command in block.commands:
            written = [word for word in command if word != "..."]
            if "..." in command:  # a part of a command: its options must be there
                name = command[0]
                known = {option for one in group.commands[name].params for option in one.opts}
                assert {word for word in written if word.startswith("--")} <= known
                continue
            try:
                parse(group, written)
            except typer.BadParameter.__mro__[1] as error:
                pytest.fail(f"medfuse {shlex.join(command)}: {error}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_that_a_sentence_names_is_there(page: Path, group: Any) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for name, rest in re.findall(r"`medfuse ([a-z]+)([^`]*)`", text):
        assert name in group.commands
        known = {option for one in group.commands[name].params for option in one.opts}
        known |= {
            option
            for sub in getattr(group.commands[name], "commands", {}).values()
            for one in sub.params
            for option in one.opts
        }
        assert set(re.findall(r"--[a-z][a-z-]+", rest)) <= known, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_of_a_page_is_python(page: Path, blocks_of: Callable[[Path], list[Any]]) -> None:
    for block in blocks_of(page):
        if block.language == "python":
            ast.parse(block.source)


def test_an_unknown_option_is_found(group: Any) -> None:
    with pytest.raises(typer.BadParameter.__mro__[1], match="--absent"):
        parse(group, ["score", "archive", "--absent"])


def test_commands_are_read_over_line_ends_and_without_comments(
    tmp_path: Path, blocks_of: Callable[[Path], list[Any]]
) -> None:
    (tmp_path / "page.md").write_text("```sh\nmedfuse score A \\\n  --out B   # why\nls\n```\n")
    (block,) = blocks_of(tmp_path / "page.md")
    assert block.commands == [["score", "A", "--out", "B"]]
