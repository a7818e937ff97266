"""Every message that the page quotes is one that the code, or what it is built with, still says."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
OTHERS = {"No such option"}  # said by typer
GAP = "\N{HORIZONTAL ELLIPSIS}"


def quoted() -> list[str]:
    cells = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    return [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]


def text_of(node: ast.AST) -> str:
    """Return a string of the source, with a gap where a value stands."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else GAP


@pytest.fixture(scope="module")
def said() -> str:
    texts = {(ROOT / "Makefile").read_text(encoding="utf-8")}
    for path in (ROOT / "medfuse").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr | ast.Constant):
                texts.add(text_of(node))
            elif isinstance(node, ast.Call):  # an error: what was found, and what was expected
                texts |= {f"expected {text_of(one.value)}" for one in node.keywords if one.arg == "expected"}
    return "\n".join(texts)


@pytest.mark.parametrize("message", quoted())
def test_a_quoted_message_is_still_said(message: str, said: str) -> None:
    words = GAP.join(map(re.escape, message.split(GAP))).replace(GAP, ".*")
    assert message in OTHERS or re.search(words, said), "look for its new words in medfuse, and mend the page"


def test_the_page_covers_all_stages() -> None:
    assert len(quoted()) > 45
