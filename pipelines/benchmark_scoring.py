"""Scoring CT archives, medfuse against what a user would write with MONAI: the same series and model, in turns.

Run it by ``make bench-scoring``. Each side is a process of its own with two workers: medfuse's are dask's, MONAI's are
those of its DataLoader, whose model is eager float32. MONAI resamples the whole series before it crops, or crops first.
The files lie in the page cache for all, as far as there is room. Times hold no start of Python; the rows of CPU time
hold no waiting either, and are what to look at where other programs ran beside. Then: where medfuse's time goes, beside
a floor; growth with the number of studies; what scheduling costs; resuming.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.scoring_tools.inputs import LESION_SCAN, WHOLE_SCAN, Scan, make_model, write_archive
from pipelines.scoring_tools.profile import profile_study
from pipelines.scoring_tools.scale import growth, measure_command, measure_overhead, measure_simulation
from pipelines.scoring_tools.sides import measure_medfuse, measure_monai

COMMAND = "make bench-scoring"
WORKERS = 2
AIM_WHOLE_FIRST, AIM_CROP_FIRST, AIM_WHOLE = 25.0, 8.0, 3.0
AIM_DIFFERENCE, AIM_MB, AIM_OVERHEAD, AIM_RESUME_S = 1e-3, 1100.0, 5.0, 5.0
Row = dict[str, object]
Figures = dict[str, Any]
MEASURES: Mapping[str, Callable[..., Figures]] = {
    "medfuse": measure_medfuse,
    "monai": measure_monai,
    "profile": profile_study,
    "overhead": measure_overhead,
    "simulation": measure_simulation,
    "command": measure_command,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--out FILE``, ``--work DIR`` (archives and models are kept there; by default a temporary folder),
        ``--series N`` (of the archive), ``--peer N`` (that MONAI reads), ``--rounds N``, ``--scale N ...``
        (archives of the growth), ``--simulate N``, ``--parts NAME ...``.

    Returns
    -------
    int
        0 if every aim is met, else 1.
    """
    parser = argparse.ArgumentParser(prog="benchmark_scoring", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("reports/performance/scoring.json"))
    parser.add_argument("--work", type=Path)
    parser.add_argument("--series", type=int, default=16)
    parser.add_argument("--peer", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--scale", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--simulate", type=int, default=1_000_000)
    parser.add_argument("--parts", nargs="*", default=["speed", "profile", "growth", "overhead", "simulation"])
    parser.add_argument(
        "--measure", nargs=argparse.REMAINDER, help="Measure one thing in this process and print it as JSON."
    )
    options = parser.parse_args(argv)
    if options.measure:
        what, *arguments = options.measure
        print(json.dumps(MEASURES[what](*arguments)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        make: dict[str, Callable[[], list[Row]]] = {
            "speed": lambda: [
                *compare(work, LESION_SCAN, n=options.series, n_peer=options.peer, rounds=options.rounds),
                *compare(work, WHOLE_SCAN, n=options.peer, n_peer=options.peer, rounds=options.rounds),
            ],
            "profile": lambda: floor_of(work),
            "growth": lambda: grow(work, sizes=options.scale),
            "overhead": overhead,
            "simulation": lambda: simulate(options.simulate),
        }
        rows = [found for part in options.parts for found in make[part]()]
    kept = _others(options.out, rows)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps([*kept, *rows], indent=1) + "\n", encoding="utf-8")
    return show(rows)


def compare(work: Path, scan: Scan, *, n: int, n_peer: int, rounds: int) -> list[Row]:
    """Score an archive by medfuse and by MONAI's ways, in turns; the fastest rounds count."""
    model = make_model(scan, work / "models")
    archive, rois = write_archive(work / scan.region, scan, n_studies=n)
    ways = {"medfuse": n} | dict.fromkeys(
        ("whole first", "crop first") if scan.region == "lesion" else ("whole",), n_peer
    )
    found: dict[str, list[Figures]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, number in ways.items():
            if way == "medfuse":
                found[way].append(measured("medfuse", str(archive), str(rois), str(model), str(number)))
            else:
                found[way].append(measured("monai", str(archive), str(rois), str(model), str(number), way))
    aims = {"whole first": AIM_WHOLE_FIRST, "crop first": AIM_CROP_FIRST, "whole": AIM_WHOLE}
    ours = _best(found["medfuse"])
    part = "lesion known" if scan.region == "lesion" else "whole volume"
    what = f"{scan.size} x {scan.size} x {scan.slices} CT, {part}"
    rows: list[Row] = []
    for way in list(ways)[1:]:
        theirs = _best(found[way])
        name = f"{what}: a study, against MONAI, {_WAYS[way]}"
        rows.append(row(name, 1000 * ours["s"], 1000 * theirs["s"], aim=aims[way], unit="ms"))
        rows.append(row(f"{name}, CPU time", 1000 * ours["cpu_s"], 1000 * theirs["cpu_s"], unit="ms"))
        rows.append(row(f"{name}, peak memory of a process", ours["peak_mb"], theirs["peak_mb"], unit="MB"))
        apart = max(_apart(found["medfuse"][0]["probabilities"], one["probabilities"]) for one in found[way])
        name = f"{what}: probabilities, how far from MONAI's, {_WAYS[way]}, of 0.001 allowed"
        rows.append(row(name, max(apart, 1e-7), AIM_DIFFERENCE, aim=1, unit=""))
    name = f"{what}: peak memory of a worker, of 1,100 MB allowed"
    return [*rows, row(name, ours["peak_mb"], AIM_MB, aim=1, unit="MB")]


def _best(rounds: Sequence[Figures]) -> Figures:
    """Return the shortest times, and the greatest memory."""
    times = {key: min(one[key] for one in rounds) for key in ("s", "cpu_s")}
    return {**times, "peak_mb": max(one["peak_mb"] for one in rounds)}


_WAYS = {
    "whole first": "resampled whole, then cropped",
    "crop first": "cropped, then resampled",
    "whole": "resampled whole",
}


def floor_of(work: Path) -> list[Row]:
    """Say where the time of a study goes in one process, and the least that reading its bytes and computing take."""
    model = make_model(LESION_SCAN, work / "models")
    archive, rois = write_archive(work / LESION_SCAN.region, LESION_SCAN, n_studies=8)
    found = measured("profile", str(archive), str(rois), str(model))
    total = sum(found["stages_ms"].values())
    rows = [
        row(f"a study with a known lesion, CPU time of {name}, of the whole", spent, total, unit="ms")
        for name, spent in found["stages_ms"].items()
    ]
    rows += [
        row(f"floor of it, {name}, against the whole", least, total, unit="ms")
        for name, least in found["floor_ms"].items()
    ]
    return rows


def grow(work: Path, *, sizes: Sequence[int]) -> list[Row]:
    """Score archives of growing size by the command: peak memory of each process stays flat, resuming stays short."""
    found = growth(work, sizes=sorted(sizes), workers=WORKERS, run=measured)
    first, last = found[min(found)], found[max(found)]
    rows: list[Row] = []
    for size, figures in list(found.items())[1:]:
        for process in ("command", "worker", "others"):
            name = f"peak memory of {_PROCESSES[process]}, {size} studies against {min(found)}"
            rows.append(row(name, figures["peak_mb"][process], first["peak_mb"][process], unit="MB"))
        name = f"a small study of {size}, against one of {min(found)}, start left out"
        rows.append(row(name, 1000 * figures["s"], 1000 * first["s"], unit="ms"))
    name = f"resuming a finished run of {max(found)} studies, a new process, of 5 s allowed"
    return [*rows, row(name, last["resume_s"], AIM_RESUME_S, aim=1, unit="s")]


_PROCESSES = {"command": "the command", "worker": "a worker", "others": "any other process"}


def overhead() -> list[Row]:
    """Score studies that take 50 ms each and nothing else."""
    found = measured("overhead", "3000", "0.05", str(WORKERS))
    name = f"3000 studies of 50 ms on {WORKERS} workers: time above that, of 5 % allowed"
    return [row(name, max(found["percent"], 0.01), AIM_OVERHEAD, aim=1, unit="%")]


def simulate(n_studies: int) -> list[Row]:
    """Make the index, the ledger and the plan of an archive of so many studies, and of a tenth of them."""
    small, large = (measured("simulation", str(number)) for number in (n_studies // 10, n_studies))
    rows = []
    for what in small["s"]:
        name = f"{what} of {n_studies} studies, against {n_studies // 10}: a study"
        rows.append(row(name, 1e6 * large["s"][what] / n_studies, 1e7 * small["s"][what] / n_studies, unit="us"))
        name = f"{what} of {n_studies} studies, against {n_studies // 10}: peak memory"
        rows.append(row(name, large["peak_mb"][what], small["peak_mb"][what], unit="MB"))
    return rows


def measured(*arguments: str) -> Figures:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "pipelines.benchmark_scoring", "--measure", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - this very module
    if done.returncode:
        raise SystemExit(f"error: benchmark: {arguments[0]} failed: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _apart(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    return max(abs(ours[study] - probability) for study, probability in theirs.items())


def _others(path: Path, rows: Sequence[Row]) -> list[Row]:
    """Return the rows of an earlier run that this one did not measure again."""
    if not path.exists():
        return []
    names = {found["name"] for found in rows}
    return [found for found in json.loads(path.read_text(encoding="utf-8")) if found["name"] not in names]


def row(name: str, ours: float, theirs: float, *, aim: float | None = None, unit: str = "s") -> Row:
    """Return one row: how many times faster or smaller ours is."""
    found: Row = {"name": name, "ours": round(ours, 7), "theirs": round(theirs, 7), "ratio": round(theirs / ours, 3)}
    return found | {"unit": unit, "command": COMMAND} | ({"aim": aim} if aim else {})


def show(rows: Sequence[Row]) -> int:
    """Print a table; return 1 if a row misses its aim."""
    missed = 0
    for found in rows:
        aim = float(str(found.get("aim", 0)))
        missed += float(str(found["ratio"])) < aim
        aimed = f"(aim {aim:g})" if aim else ""
        figures = f"{found['ours']:>12.6g} {found['theirs']:>12.6g} {found['unit']:<4} x{found['ratio']}"
        print(f"{found['name']:<110} {figures} {aimed}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
