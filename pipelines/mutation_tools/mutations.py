"""The changes that cosmic-ray's operators can make to a module, one drawn for each place and kind."""

from __future__ import annotations

import ast
import difflib
import importlib
import random
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["TOOLS", "Mutant", "mutants_of"]

TOOLS = Path("build/mutants")
"""Where ``make mutants`` puts cosmic-ray and parso, which nothing else needs."""

LEFT_OUT = ("VariableReplacer", "VariableInserter", "_Is", "_IsNot")
"""Ends of the operators that have to be told names, and of those that compare identity, mostly to the same effect."""

Position = tuple[int, int]


@dataclass(frozen=True)
class Mutant:
    """A module with one change."""

    where: str
    """Function or class of the change; empty at the module's own level."""

    line: int
    was: str
    now: str
    lines: tuple[int, ...]
    """Of the statement that is changed."""

    source: str


def mutants_of(source: str, *, seed: int, places: int) -> tuple[list[Mutant], int]:
    """Return the changes that are drawn, in the order of the lines, and how many places there are.

    Where several operators of a kind could change one place, one of them is drawn; then so many of the places, at
    most. Annotations, what only a type checker reads, and changes that do not compile are left out.
    """
    if str(TOOLS) not in sys.path:
        sys.path.append(str(TOOLS))
    trees = importlib.import_module("cosmic_ray.ast")
    operators = importlib.import_module("cosmic_ray.operators.provider").OperatorProvider()
    unread = list(spans_not_run(ast.parse(source)))
    found: dict[tuple[str, Position], list[tuple[str, int]]] = defaultdict(list)
    nodes = list(trees.ast_nodes(trees.get_ast(source)))
    for name in [one for one in operators if not one.endswith(LEFT_OUT)]:
        operator, count = operators[name](), 0
        for node in nodes:
            for start, _ in operator.mutation_positions(node):
                of_signature = getattr(node.parent, "type", "") == "parameters"  # the * before keyword-only ones
                if not of_signature and not any(first <= start < last for first, last in unread):
                    found[name.partition("_")[0], start].append((name, count))
                count += 1
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    keys = chance.sample(sorted(found), k=len(found))
    drawn: list[Mutant] = []
    for key in keys:
        if len(drawn) == places:
            break
        name, count = chance.choice(found[key])
        changed = change(source, operators[name](), count, trees)
        if changed and changed != source and compiles(changed):
            drawn.append(describe(source, changed, key[1][0]))
    return sorted(drawn, key=lambda one: one.line), len(found)


def change(source: str, operator: Any, count: int, trees: Any) -> str:
    """Return the source after the change that an operator makes at its so-manieth place; empty if it cannot."""

    class Change(trees.Visitor):  # type: ignore[misc]
        left = count

        def visit(self, node: Any) -> Any:
            for index, _ in enumerate(list(operator.mutation_positions(node))):
                self.left -= 1
                if self.left == -1:
                    return operator.mutate(node, index)
            return node

    try:
        return str(Change().walk(trees.get_ast(source)).get_code())
    except AttributeError:  # an exception named with a dot, which cosmic-ray cannot change
        return ""


def compiles(source: str) -> bool:
    """Whether Python reads it, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            compile(source, "mutant", "exec", dont_inherit=True)
        except (SyntaxError, SyntaxWarning, ValueError):
            return False
    return True


def describe(source: str, changed: str, line: int) -> Mutant:
    """Say what a change is: the lines before and after, and the function and the statement that it is in."""
    before, after = source.splitlines(), changed.splitlines()
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    was, now = [], []
    for tag, first, last, first_now, last_now in matcher.get_opcodes():
        if tag != "equal":
            was += before[first:last]
            now += after[first_now:last_now]
    where, lines = "", range(line, line + 1)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.stmt) or not node.lineno <= line <= (node.end_lineno or 0):
            continue
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            where = f"{where}.{node.name}".strip(".")
        body = getattr(node, "body", None)
        lines = range(node.lineno, (body[0].lineno if body else (node.end_lineno or line) + 1))
    return Mutant(where, line, joined(was), joined(now), tuple(lines), changed)


def joined(lines: list[str]) -> str:
    """Return lines as one, with single spaces."""
    return " ".join(" ".join(lines).split())


def spans_not_run(tree: ast.Module) -> Iterator[tuple[Position, Position]]:
    """Yield where annotations lie, and what only a type checker reads."""
    for node in ast.walk(tree):
        annotation = getattr(node, "annotation", None) or getattr(node, "returns", None)
        if isinstance(annotation, ast.expr):
            yield span(annotation)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield span(node)


def span(node: ast.expr | ast.stmt) -> tuple[Position, Position]:
    """Return where a node begins and ends."""
    return (node.lineno, node.col_offset), (node.end_lineno or node.lineno, node.end_col_offset or 0)
