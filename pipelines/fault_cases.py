"""Broken, lying and hostile inputs, each through the command line: refused, warned of or read, as its case demands.

Run it by ``make faults``, after ``make demo``, whose model it scores with. The cases and the judge lie beside the
repository; those that a checkout cannot carry (a pipe, a link, a file that nobody may read, a pickle that runs code)
are made here, and so are the variants of `pipelines.fault_tools`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import pickle
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medfuse.errors import MedfuseError, UsageError
from medfuse.io.pseudonyms import CONFIG_DIR
from medfuse.progress import start_logging
from pipelines.fault_tools.dicom import GEOMETRY, IDENTITY, OUT_OF_DISTRIBUTION, PIXEL
from pipelines.fault_tools.files import ARCHIVE, NIFTI, TEXT
from pipelines.fault_tools.tables import LABELS, MODEL
from pipelines.fault_tools.variant import LIMITS, Sound, copy_sound, variant_row

log = logging.getLogger("medfuse")

STUDY = "ctl_ct"
"""The sound study that the cases made here start from."""

VARIANTS = {
    "geometry": GEOMETRY, "pixel": PIXEL, "nifti": NIFTI, "identity": IDENTITY, "archive": ARCHIVE, "text": TEXT,
    "labels": LABELS, "model": MODEL, "ood": OUT_OF_DISTRIBUTION,
}  # fmt: skip
CONFIG = Path("configs/lidc.yaml")
SETS = ("given", "variants")
"""Given cases with those that a checkout cannot carry, and the variants of `pipelines.fault_tools`."""

NO_RIGHTS = "-dac_override,-dac_read_search"
"""What root gives up, so that it cannot read a file that nobody may read."""

Row = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Judge the cases.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--cases`` (a folder with cases.json), ``--judge`` (the program that runs them), ``--model`` (a bundle),
        ``--sets`` (which cases; rows of the others stay as they are), ``--only`` (a pattern of ids), ``--out``.

    Returns
    -------
    int
        0 if every case ends as it must, 1 if one does not or nothing could be run.
    """
    parser = argparse.ArgumentParser(prog="fault_cases", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cases", type=Path, default=Path("../shared/data/faults"))
    parser.add_argument("--judge", type=Path, default=Path("../shared/tools/run_cases.py"))
    parser.add_argument("--model", type=Path, default=Path("demo/runs/fused/model"))
    parser.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    parser.add_argument("--only", default=".")
    parser.add_argument("--out", type=Path, default=Path("reports/robustness"))
    options = parser.parse_args(argv)
    start_logging()
    try:
        with tempfile.TemporaryDirectory() as work:
            cases = gather(options.cases, Path(work), model=options.model, sets=options.sets)
            rows = judge(cases, options.judge, options.model, only=options.only)
    except MedfuseError as error:
        log.error("error: %s", error)
        return 1
    write(options.out, rows)
    return int(not all(row["ok"] for row in rows))


def gather(given: Path, work: Path, *, model: Path, sets: Sequence[str] = SETS) -> Path:
    """Return a folder with the cases that are given, and those that are made here.

    Raises
    ------
    UsageError
        If no cases are given, or no model.
    """
    if not (given / "cases.json").is_file():
        raise UsageError("--cases", "found no cases.json", expected="a folder of fault cases")
    if not (model / "model.json").is_file():
        raise UsageError("--model", "found no model", expected="a bundle, such as make demo leaves")
    folder = work / "cases"
    folder.mkdir()
    content = json.loads((given / "cases.json").read_text(encoding="utf-8"))
    rows: list[Row] = []
    for case in content["cases"]:
        (folder / case["input"]["path"]).symlink_to((given / case["input"]["path"]).resolve())
    if "given" in sets:
        rows += content["cases"]
        rows += [
            _pipe(folder, given / STUDY),
            _link(folder, given / STUDY, work / "elsewhere"),
            _unreadable(folder, given / STUDY),
            _pickle(folder, Path(tempfile.gettempdir()) / content["pwn_marker"]),
        ]
    if "variants" in sets:
        sound = Sound(given / STUDY, given / "ctl_nifti", given / "ctl_manifest", model, CONFIG)
        for group, name, variant in ((one, *item) for one in VARIANTS for item in VARIANTS[one].items()):
            (folder / name).mkdir()
            variant.make(folder / name, sound)
            rows.append(variant_row(name, group, variant))
    (folder / "cases.json").write_text(json.dumps({**content, "cases": rows}), encoding="utf-8")
    return folder


def judge(cases: Path, program: Path, model: Path, *, only: str = ".") -> list[Row]:
    """Run the program over the cases and return what it found, a row a case.

    Raises
    ------
    UsageError
        If there is no such program.
    """
    if not program.is_file():
        raise UsageError("--judge", f"found no {program.name}", expected="the program that judges the cases")
    report = cases.parent / "report.json"
    command = [sys.executable, str(program), str(cases), "--heldout", "all", "--only", only, "--report", str(report)]
    command += ["--cmd", scoring(model), "--cmd-type", *(f"{kind}={line}" for kind, line in commands(model).items())]
    own_key = {**os.environ, CONFIG_DIR: str(cases.parent / "config")}
    subprocess.run(command, check=True, env=own_key)  # noqa: S603 - no shell
    rows: list[Row] = json.loads(report.read_text(encoding="utf-8"))
    return [{key: row[key] for key in ("id", "group", "want", "got", "rc", "ok", "bad", "s")} for row in rows]


def scoring(model: Path | str) -> str:
    """Return the command that scores ``{input}`` into ``{out}``."""
    return f"{_medfuse()} score {{input}} --model {shlex.quote(str(model))} --position centre --out {{out}}"


def commands(model: Path) -> dict[str, str]:
    """Return the commands of the types of input that are not scored themselves."""
    as_nobody = f"setpriv --bounding-set={NO_RIGHTS} " if os.geteuid() == 0 else ""
    return {
        "manifest": f"{_medfuse()} check {{input}}/manifest.csv",
        "config": f"{_medfuse()} train --config {{input}}/config.yaml --out {{out}}",
        "checkpoint": f"{_medfuse()} score {{input}}/../{STUDY} --model {{input}} --position centre --out {{out}}",
        "unreadable": as_nobody + scoring(model),
    }


def _medfuse() -> str:
    return shlex.quote(str(Path(sys.executable).with_name("medfuse")))


def _case(name: str, group: str, kind: str, verdict: Sequence[str], words: Sequence[str], why: str) -> Row:
    expect = {"verdict": verdict[0], "also_accept": list(verdict[1:]), "words_any": list(words), **LIMITS}
    place = {"type": kind, "path": name, "source": "made"}
    return {"id": name, "group": group, "heldout": False, "why": why, "input": place, "expect": expect}


def _pipe(folder: Path, study: Path) -> Row:
    copy_sound(study, folder / "arc_fifo")
    os.mkfifo(folder / "arc_fifo" / "dicom" / "IM9999.dcm")
    return _case("arc_fifo", "archive", "study", ("continue", "warn"), (), "a pipe in a series folder must not hang")


def _link(folder: Path, study: Path, elsewhere: Path) -> Row:
    copy_sound(study, folder / "arc_symlink" / "study")
    copy_sound(study, elsewhere)
    (folder / "arc_symlink" / "other").symlink_to(elsewhere)
    return _case("arc_symlink", "archive", "archive", ("warn",), ("link that leaves",), "a link out of the archive")


def _unreadable(folder: Path, study: Path) -> Row:
    for name in ("good", "closed"):
        copy_sound(study, folder / "arc_unreadable" / name)
    for path in (folder / "arc_unreadable" / "good").rglob("*.dcm"):
        _other_study(path)
    next((folder / "arc_unreadable" / "closed" / "dicom").iterdir()).chmod(0)
    words = ("PermissionError", "permission")
    return _case("arc_unreadable", "archive", "unreadable", ("refuse",), words, "a file without read permission")


def _other_study(path: Path) -> None:
    """Give a slice UIDs of its own, of the same length as they had."""
    data = path.read_bytes()
    for tag in (b"\x08\x00\x18\x00UI", b"\x20\x00\x0d\x00UI", b"\x20\x00\x0e\x00UI", b"\x20\x00\x52\x00UI"):
        start = data.index(tag) + 8
        end = start + int.from_bytes(data[start - 2 : start], "little")
        data = data[: start + 5] + data[start + 5 : end].translate(_NEXT_DIGIT) + data[end:]
    path.write_bytes(data)


_NEXT_DIGIT = bytes.maketrans(b"123456789", b"234567891")


class _RunsCode:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {shlex.quote(str(self.marker))}",)


def _pickle(folder: Path, marker: Path) -> Row:
    (folder / "mod_pickle").mkdir()
    (folder / "mod_pickle" / "model.pt").write_bytes(pickle.dumps({"w": _RunsCode(marker)}, protocol=2))
    return _case("mod_pickle", "model", "checkpoint", ("refuse",), ("pickle", "code"), "loading it would run code")


def write(out: Path, rows: Sequence[Row]) -> None:
    """Put the rows beside those of other cases that are there, and write the page anew."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "faults.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    known = {row["id"]: row for row in [*before, *rows]}
    path.write_text(json.dumps(list(known.values()), indent=1) + "\n", encoding="utf-8")
    of_variants = {name for variants in VARIANTS.values() for name in variants}
    given = [row for row in known.values() if row["id"] not in of_variants]
    variants = [row for row in known.values() if row["id"] in of_variants]
    failed = [
        f"- {row['id']}: {row['got']}, {row['want']} wanted {row['bad']}" for row in known.values() if not row["ok"]
    ]
    missed = "\n".join(["", "Not as required:", "", *failed, ""]) if failed else ""
    tables = {"given": _table(given), "variants": _table(variants)}
    (out / "faults.md").write_text(PAGE.format(**tables) + missed, encoding="utf-8")


def _table(rows: Sequence[Row]) -> str:
    """Count the rows by group."""
    head = ["group", "cases", "as required", "refused", "warned of", "read", "longest, s"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for group in [*sorted({str(row["group"]) for row in rows}), "all"]:
        some = [row for row in rows if group in (row["group"], "all")]
        ends = [sum(row["got"] == end for row in some) for end in ("refuse", "warn", "continue")]
        longest = max((row["s"] for row in some), default=0)
        figures = [group, len(some), sum(row["ok"] for row in some), *ends, longest]
        lines.append("| " + " | ".join(map(str, figures)) + " |")
    return "\n".join(lines)


PAGE = """# Inputs that are broken, lie or mean harm

Written by `make faults`; a row a case in faults.json. Each case goes through the command line in a process of its
own: images and archives through `medfuse score`, models through its `--model`, manifests through `medfuse check`,
configurations through `medfuse train`. It must be refused with a reason that names its fault, warned of, or read;
within 60 s and 3 GB, without a traceback, without a file outside the output folder, without any code of it being run,
and without a planted identifier in anything that is written. A control is sound and must be read.

Cases that are given, with four that a checkout cannot carry (a pipe, a link out of the archive, a file that nobody may
read, a pickle that runs code):

{given}

Variants, made by `pipelines/fault_tools` from the sound ones. Weights and settings of the models among them are
changed with their checksums made right again, as one would who means harm, and without.

{variants}
"""


if __name__ == "__main__":
    sys.exit(main())
