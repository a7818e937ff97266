"""Small changes of the code, each of which a test must notice: geometry, evaluation and the ledger of scoring.

Run it by ``make mutants``. Every change is made in memory, in a process forked for it, where those of the module's
tests run that reach the changed line. What no test notices is listed with the answer given to it in
``reports/robustness/mutants.yaml``.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from medfuse.progress import start_logging
from pipelines.mutation_tools.mutations import mutants_of
from pipelines.mutation_tools.runs import run_mutants

log = logging.getLogger("medfuse")

MODULES: dict[str, tuple[str, ...]] = {
    "io/dicom_geometry": ("io/test_dicom_split", "io/test_dicom"),
    "io/dicom_split": ("io/test_dicom",),
    "io/nifti_header": ("io/test_nifti",),
    "io/positions": (),
    "io/volumes": ("io/test_stored_volumes", "io/test_dicom", "io/test_nifti"),
    "evaluation/delong": ("evaluation/test_paired", "evaluation/test_readers"),
    "evaluation/calibration": (),
    "evaluation/calibration_figures": (),
    "evaluation/thresholds": ("evaluation/test_calls", "evaluation/test_evaluating"),
    "evaluation/operating_points": ("evaluation/test_evaluating", "evaluation/test_evaluation"),
    "evaluation/conformal": (),
    "evaluation/bootstrap": ("evaluation/test_resampling", "evaluation/test_evaluating"),
    "evaluation/resampling": (),
    "evaluation/adjustment": (),
    "evaluation/proportions": ("evaluation/test_metrics", "evaluation/test_calls"),
    "evaluation/metrics": (),
    "evaluation/paired": ("evaluation/test_model_comparison",),
    "scoring/ledger": ("scoring/test_results",),
    "scoring/parts": ("scoring/test_ledger", "scoring/test_results"),
    "scoring/locks": ("scoring/test_ledger",),
    "scoring/rows": ("scoring/test_ledger", "scoring/test_results", "scoring/test_flags"),
}
"""The modules that are changed, and the test files that count beside the module's own."""

SEED, PLACES = 7, 60


@dataclass
class Result:
    """How the changes of a module ended."""

    changes: int
    tried: int
    seed: int
    ends: dict[str, int]
    survived: list[dict[str, Any]] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """Change the modules and run their tests.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--modules`` (all), ``--places`` at most a module, ``--seed``, ``--survivors`` (try only those that no test
        noticed the last time), ``--page`` (write the page of what is known), ``--out``.

    Returns
    -------
    int
        0 if every change was noticed or is answered, else 1.
    """
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--modules", nargs="*", choices=MODULES, default=list(MODULES))
    parser.add_argument("--places", type=int, default=PLACES)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--survivors", action="store_true")
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("reports/robustness"))
    options = parser.parse_args(argv)
    start_logging()
    sys.path[:0] = [str(Path.cwd())]
    results = read_results(options.out)
    for name in [] if options.page else options.modules:
        source = Path("medfuse") / f"{name}.py"
        drawn, changes = mutants_of(source.read_text(encoding="utf-8"), seed=options.seed, places=options.places)
        if options.survivors and name in results:
            left = {(one["line"], one["was"], one["now"]) for one in results[name].survived}
            drawn = [one for one in drawn if (one.line, one.was, one.now) in left]
        files = dict.fromkeys([f"{name.replace('/', '/test_')}", *MODULES[name]])
        paths = [str(source), *(str(path) for path in (Path("tests") / f"{one}.py" for one in files) if path.is_file())]
        started = time.monotonic()
        done = run_mutants(source, paths, drawn)
        ends = Counter(done)
        log.info("%s: %s of %d in %.0f s", name, dict(ends), len(drawn), time.monotonic() - started)
        survived = [
            {"where": one.where, "line": one.line, "was": one.was, "now": one.now}
            for one, end in zip(drawn, done, strict=True)
            if end == "survived"
        ]
        if options.survivors and name in results:
            ends["timeout"] += results[name].ends.get("timeout", 0)
            ends["killed"] = results[name].tried - ends["timeout"] - ends["survived"]
            changes, tried = results[name].changes, results[name].tried
        else:
            tried = len(drawn)
        results[name] = Result(changes, tried, options.seed, dict(ends), survived)
        write_results(options.out, results)
    return int(write_page(options.out, results) > 0)


def read_results(out: Path) -> dict[str, Result]:
    """Return what earlier runs found, by module."""
    path = out / "mutants.json"
    return {name: Result(**one) for name, one in json.loads(path.read_text()).items()} if path.is_file() else {}


def write_results(out: Path, results: dict[str, Result]) -> None:
    """Write what was found, in the order of the modules."""
    out.mkdir(parents=True, exist_ok=True)
    content = {name: asdict(results[name]) for name in MODULES if name in results}
    (out / "mutants.json").write_text(json.dumps(content, indent=1) + "\n")


def write_page(out: Path, results: dict[str, Result]) -> int:
    """Write the page of all results with the answers, and return how many changes are neither noticed nor answered."""
    path = out / "mutants.yaml"
    answers = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    rows = ["| module | places | tried | killed | out of time | survived | of them answered |", "|" + "---|" * 7]
    listed: list[str] = []
    unanswered, total = 0, Counter[str]()
    for name, one in results.items():
        given = [find_answer(answers.get(name, []), mutant) for mutant in one.survived]
        cells = {"places": one.changes, "tried": one.tried, "killed": one.ends.get("killed", 0)}
        cells |= {"timeout": one.ends.get("timeout", 0), "survived": len(given), "answered": sum(map(bool, given))}
        total.update(cells)
        unanswered += given.count("")
        rows.append("| " + " | ".join(map(str, [name, *cells.values()])) + " |")
        listed += [f"\n## {name}\n"] if given else []
        for mutant, answer in zip(one.survived, given, strict=True):
            listed.append(f"- `{mutant['where'] or name}`: `{mutant['was']}` → `{mutant['now']}`")
            listed.append(f"  {answer or '**Not answered.**'}")
    rows.append("| **all** | " + " | ".join(str(n) for n in total.values()) + " |")
    seeds = ", ".join(sorted({str(one.seed) for one in results.values()}))
    noticed = (total["killed"] + total["timeout"]) / max(1, total["tried"])
    content = PAGE.format(seed=seeds, table="\n".join(rows), noticed=noticed)
    (out / "mutants.md").write_text(content + "\n".join(listed) + "\n", encoding="utf-8")
    return unanswered


def find_answer(answers: Sequence[dict[str, str]], mutant: dict[str, Any]) -> str:
    """Return the answer to a change; one without ``now`` stands for every change of its line."""
    for one in answers:
        if one["was"] in mutant["was"] and one.get("now", mutant["now"]) == mutant["now"]:
            return one["answer"]
    return ""


PAGE = """# Changes of the code, and whether a test notices

Written by `make mutants` (seed {seed}). Operators of cosmic-ray change a module at one place: another comparison or
operator, a number one more or less, a condition turned round, a decorator or a loop's round gone. Where several could
stand at a place, one is drawn; of the places so many are drawn as the table says were tried. Annotations are left
alone. The module's own fast tests and examples must then fail, or not come to an end: **{noticed:.1%}** of the changes
are noticed so. The others are listed below, each with what was found when it was read.
`make mutants MUTANTS="--survivors"` tries them again.

{table}
"""


if __name__ == "__main__":
    sys.exit(main())
