"""Runs tests on changed code: in a session that collected once and forks for each change, or imported anew."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import coverage
import pytest
from hypothesis import Phase, settings

from pipelines.mutation_tools.mutations import Mutant

__all__ = ["run_mutants"]

LIMIT_S, SLOWER, SESSION_S, MEMORY_BYTES = 10.0, 10.0, 3600.0, 6 * 2**30
"""A change may take so long, and so many times what its tests take without it; a session of all changes."""

SHARED = "shared"
"""What the lines belong to that a fixture of several tests ran."""

Key = tuple[str, int]


def run_mutants(source: Path, paths: Sequence[str], mutants: Sequence[Mutant]) -> list[str]:
    """Run tests on each change of a module, and return how each ended: killed, timeout or survived.

    Raises
    ------
    SystemExit
        If the tests fail without a change.
    """
    with tempfile.TemporaryDirectory() as work:
        session = ChangingSession(source, mutants, Path(work) / "found.json")
        if in_a_fork(lambda: run_pytest(paths, Path(work), session), limit_s=SESSION_S) != "survived":
            raise SystemExit(f"{source}: its tests fail as it is; expected them to pass")
        ends, imported, seconds = json.loads(session.found.read_text())
        for name in imported if None in ends else []:  # once, for all that follow
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        limit = 6 * LIMIT_S + SLOWER * seconds
        return [end or try_import(source, one, paths, limit) for one, end in zip(mutants, ends, strict=True)]


def try_import(source: Path, mutant: Mutant, paths: Sequence[str], limit_s: float) -> str:
    """Run all tests where the module is imported from its changed text."""

    def run() -> int:
        name = ".".join(source.with_suffix("").parts)
        sys.meta_path.insert(0, Changed(name, source.resolve(), mutant.source))
        importlib.import_module(name)
        return run_pytest(paths, Path(work), NoShrinking())

    with tempfile.TemporaryDirectory() as work:
        return in_a_fork(run, limit_s=limit_s)


def run_pytest(paths: Sequence[str], work: Path, plugin: object) -> int:
    """Run fast tests until one fails, and return pytest's exit code."""
    options = ["-x", "-q", "-m", "not slow", "--tb=no", "-Wignore::pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*options, f"--basetemp={work / 'tests'}", *paths], plugins=[plugin]))


def in_a_fork(run: Callable[[], int], *, limit_s: float) -> str:
    """Run something in a forked process of its own group: survived if it returns 0 in time, else killed or timeout."""
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setpgid(0, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, limit_s)
            held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_BYTES, resource.RLIM_INFINITY))
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            code = run()
        finally:  # whatever the change led to, this process ends here
            os._exit(code)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what a test left running
    if os.WIFSIGNALED(status):
        return "timeout" if os.WTERMSIG(status) == signal.SIGALRM else "killed"
    return "survived" if os.WEXITSTATUS(status) == 0 else "killed"


class NoShrinking:
    """Keeps hypothesis from looking for smaller examples, which takes time and changes no end."""

    def pytest_collection(self) -> None:
        """Load a profile over the one that the tests' conftest has loaded."""
        settings.register_profile("mutants", settings.get_profile("repeat"), phases=[Phase.explicit, Phase.generate])
        settings.load_profile("mutants")


@dataclass(eq=False)
class ChangingSession(NoShrinking):
    """A plugin of pytest that forks for each change, and there puts the changed code into the living functions.

    First the tests run as they are, to learn which of them reach each line. The end of a change outside functions is
    None.
    """

    source: Path
    mutants: Sequence[Mutant]
    found: Path
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    measured: coverage.Coverage | None = None
    test: str = ""

    def pytest_runtestloop(self, session: Any) -> bool:
        """Run the tests on every change, and write how each ended."""
        items = {item.nodeid: item for item in session.items}
        known = self.found.with_suffix(".known")
        if in_a_fork(lambda: self.learn(session, known), limit_s=SESSION_S) != "survived":
            session.testsfailed = 1
            return True
        reached, seconds = json.loads(known.read_text())
        living = functions_of(".".join(self.source.with_suffix("").parts))
        ends: list[str | None] = []
        for mutant in self.mutants:
            tests = {test for line in mutant.lines for test in reached.get(str(line), [])} - {""}
            if SHARED in tests or not tests:
                tests = set(items)
            ordered = [items[one] for one in sorted(tests, key=lambda one: seconds.get(one, 0.0))]
            codes = changed_codes(self.source, mutant)
            functions = [(one, code) for key, code in codes.items() for one in living.get(key, [])]
            limit = LIMIT_S + SLOWER * sum(seconds.get(one, 0.0) for one in tests)

            def run(ordered: list[Any] = ordered, functions: list[Any] = functions) -> int:
                for function, code in functions:
                    function.__code__ = code
                return run_items(session, ordered)

            ends.append(in_a_fork(run, limit_s=limit) if functions else None)
        others = [one for one in sys.modules if not one.startswith(("medfuse", "tests", "test_", "pipelines", "__"))]
        self.found.write_text(json.dumps([ends, others, sum(seconds.values())]))
        return True

    def learn(self, session: Any, known: Path) -> int:
        """Run the tests as they are; write which reach each line, and the seconds of each."""
        path = str(self.source.resolve())
        self.measured = coverage.Coverage(data_file=None, include=[path], config_file=False)
        with self.measured.collect():
            failed = run_items(session, session.items)
        reached = self.measured.get_data().contexts_by_lineno(path)
        known.write_text(json.dumps([reached, self.seconds]))
        return failed

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Generator[None, object, object]:
        """Give the lines that follow to a test."""
        self.test = item.nodeid
        self.switch(self.test)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, object, object]:
        """Give the lines of a fixture that outlives its test to all of them."""
        if fixturedef.scope != "function":
            self.switch(SHARED)
        made = yield
        self.switch(self.test)
        return made

    def switch(self, name: str) -> None:
        """Say what the lines that follow belong to."""
        if self.measured:
            self.measured.switch_context(name)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Add up the seconds of a test."""
        self.seconds[report.nodeid] += report.duration


def run_items(session: Any, items: Sequence[Any]) -> int:
    """Run tests until one fails, and return how many failed."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            break
    return int(session.testsfailed)


def functions_of(module: str) -> dict[Key, list[FunctionType]]:
    """Return the living functions of a module."""
    found: dict[Key, list[FunctionType]] = defaultdict(list)
    for one in gc.get_objects():
        if type(one) is FunctionType and one.__module__ == module:  # isinstance wakes lazy objects
            found[key_of(one.__code__)].append(one)
    return found


def changed_codes(source: Path, mutant: Mutant) -> dict[Key, CodeType]:
    """Return the code of each function that a change is in, those around it too."""
    before, after = (
        {key_of(one): one for one in codes_within(compile(text, str(source), "exec", dont_inherit=True))}
        for text in (source.read_text(encoding="utf-8"), mutant.source)
    )
    return {key: code for key, code in after.items() if key in before and code != before[key]}


def codes_within(code: CodeType) -> list[CodeType]:
    """Return a code and all within it."""
    inner = [codes_within(one) for one in code.co_consts if isinstance(one, CodeType)]
    return [code, *(one for codes in inner for one in codes)]


def key_of(code: CodeType) -> Key:
    """Return what tells a code from the others of its module."""
    return code.co_qualname, code.co_firstlineno


@dataclass(frozen=True)
class Changed:
    """Finds one module, and gives it another text."""

    name: str
    path: Path
    text: str

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the module's spec, if it is the one."""
        if fullname != self.name:
            return None
        loader = ChangedLoader(fullname, str(self.path))
        loader.text = self.text
        return spec_from_file_location(fullname, self.path, loader=loader)


class ChangedLoader(SourceFileLoader):
    """Compiles a text in place of the file's."""

    text = ""

    def get_code(self, fullname: str) -> CodeType:
        """Return the compiled text."""
        return compile(self.text, self.path, "exec", dont_inherit=True)
