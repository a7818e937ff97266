"""Reading and indexing DICOM, medfuse against pydicom and MONAI: the same files, in turns, in one run.

Run it by ``make bench-io``. Peers run at their documented best: pydicom reads what is needed and no more, MONAI's
PydicomReader prunes metadata. Every timed round runs all peers once; the ratio is that of their fastest rounds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medfuse.io import SeriesIdentity, derived_uid, index_archive, read_volume, write_dicom_series
from medfuse.io.volumes import Box
from medfuse.types import Volume
from pipelines.benchmark_rows import Row, make_row, show

COMMAND = "make bench-io"
row = partial(make_row, command=COMMAND)
ROUNDS = 5
SLICES, SIZE = 200, 512
ARCHIVE_SIZE, SLICES_A_SERIES, SERIES_A_STUDY = 96, 100, 2
BOX_MM = 64.0
INDEX_TAGS = [
    "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID",
    "AccessionNumber", "StudyDate", "Modality", "ImageType", "Rows", "Columns", "NumberOfFrames", "PixelSpacing",
    "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", "ConvolutionKernel",
]  # fmt: skip
Timer = Mapping[str, Callable[[], object]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--out FILE``, ``--files N`` (archive of the comparison), ``--scale N ...`` (archives of the growth), and
        ``--work DIR`` for the files that are read (by default a temporary folder).

    Returns
    -------
    int
        0 if every aim is met, else 1.
    """
    parser = argparse.ArgumentParser(prog="benchmark_io", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("reports/performance/io.json"))
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--scale", type=int, nargs="*", default=[1000, 10_000, 50_000])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--measure", type=Path, help="Index one archive and print seconds and peak memory.")
    options = parser.parse_args(argv)
    if options.measure:
        print(json.dumps(measure_index(options.measure)))
        return 0
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        rows = [*compare_reading(Path(folder), rounds=options.rounds)]
        rows += compare_index(Path(folder), n_files=options.files, rounds=options.rounds)
        rows += grow_index(Path(folder), sizes=options.scale)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return show(rows)


def compare_reading(folder: Path, *, rounds: int) -> list[Row]:
    """Read one series whole, by each reader, and a box from it."""
    series = folder / "series"
    write_series(series)
    centre = np.array([0.0, 0.0, SLICES * 1.25 / 2])
    box: Box = (tuple((centre - BOX_MM / 2).tolist()), tuple((centre + BOX_MM / 2).tolist()))
    check_equal(read_medfuse(series), read_pydicom(series))
    times = in_turns(
        {
            "medfuse": lambda: read_medfuse(series),
            "pydicom": lambda: read_pydicom(series),
            "monai": monai_reader(series),
            "box": lambda: read_volume(series, box_mm=box).voxels.astype(np.float32),
        },
        rounds=rounds,
    )
    what = f"{SLICES} slices of {SIZE} x {SIZE} to float32"
    return [
        row(f"{what}, against pydicom pixel_array", times["medfuse"], times["pydicom"], aim=2),
        row(f"{what}, against MONAI PydicomReader", times["medfuse"], times["monai"], aim=12),
        row(f"a box of {BOX_MM:.0f} mm, against reading it whole", times["box"], times["medfuse"], aim=5),
    ]


def compare_index(folder: Path, *, n_files: int, rounds: int) -> list[Row]:
    """Index one archive, and read the same tags with pydicom."""
    archive = folder / f"archive_{n_files}"
    write_archive(archive, n_files=n_files)
    peers: Timer = {"medfuse": lambda: index_archive(archive), "pydicom": lambda: scan_pydicom(archive)}
    times = in_turns(peers, rounds=rounds)
    return [row(f"index of {n_files} files, against pydicom specific_tags", times["medfuse"], times["pydicom"], aim=8)]


def grow_index(folder: Path, *, sizes: Sequence[int]) -> list[Row]:
    """Index archives of growing size, each in a process of its own: time per file and peak memory stay flat."""
    found: dict[int, dict[str, float]] = {}
    for n_files in sorted(sizes):
        archive = folder / f"archive_{n_files}"
        if not archive.exists():
            write_archive(archive, n_files=n_files)
        command = [sys.executable, "-m", "pipelines.benchmark_io", "--measure", str(archive)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - this very module
        found[n_files] = json.loads(done.stdout)
    rows = []
    for n_files in list(found)[1:]:
        first, now = found[min(found)], found[n_files]
        against = f"of {n_files} files, against {min(found)}"
        rows.append(row(f"index, time per file {against}", now["us_per_file"], first["us_per_file"], unit="us"))
        rows.append(row(f"index, peak memory {against}", now["peak_mib"], first["peak_mib"], unit="MiB"))
    return rows


def measure_index(archive: Path) -> dict[str, float]:
    """Index one archive in this process, whose peak memory is then that of indexing."""
    started = time.perf_counter()
    n_files = int(index_archive(archive).series["n_files"].sum())
    seconds = time.perf_counter() - started
    # Not getrusage: its peak is inherited from the process that started this one.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"us_per_file": round(seconds / n_files * 1e6, 1), "peak_mib": round(int(peak.split()[1]) / 1024, 1)}


def in_turns(peers: Timer, *, rounds: int) -> dict[str, float]:
    """Return each peer's fastest round, ms; each timed call follows one of its own, so that none inherits caches."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, run in peers.items():
            run()
            started = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - started) * 1000)
    return {name: min(found) for name, found in times.items()}


def read_medfuse(series: Path) -> Any:
    """Read a series into float32, as a user of medfuse does."""
    return read_volume(series).voxels.astype(np.float32)


def read_pydicom(series: Path) -> Any:
    """Read a series into float32, as pydicom's documentation does: pixel_array, rescale, order by position."""
    import pydicom

    slices = [pydicom.dcmread(path) for path in series.iterdir()]
    slices.sort(key=lambda dataset: float(dataset.ImagePositionPatient[2]))
    planes = [
        dataset.pixel_array.astype(np.float32) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        for dataset in slices
    ]
    return np.stack(planes, axis=-1).transpose(1, 0, 2)


def monai_reader(series: Path) -> Callable[[], object]:
    """Return a reader of a series into float32, with MONAI's fastest options."""
    from monai.data import PydicomReader

    reader = PydicomReader(prune_metadata=True)
    return lambda: np.asarray(reader.get_data(reader.read(str(series)))[0], dtype=np.float32)


def scan_pydicom(archive: Path) -> int:
    """Read what an index needs with pydicom: those tags alone, and no pixels."""
    import pydicom

    wanted: list[Any] = list(INDEX_TAGS)
    found = set()
    for path in archive.rglob("*.dcm"):
        dataset = pydicom.dcmread(path, specific_tags=wanted, stop_before_pixels=True)
        found.add(tuple(str(dataset.get(keyword)) for keyword in INDEX_TAGS))
    return len(found)


def check_equal(ours: Any, theirs: Any) -> None:
    """Make sure that the same voxels are compared."""
    if not np.array_equal(ours, theirs):
        raise SystemExit("error: benchmark: medfuse and pydicom read other voxels; expected equal ones")


def write_series(folder: Path) -> None:
    """Write the CT series that is read."""
    rng = np.random.default_rng(0)
    voxels = rng.integers(-1024, 2000, (SIZE, SIZE, SLICES), dtype=np.int16)
    affine = np.diag([-0.7, -0.7, 1.25, 1.0])
    affine[:2, 3] = 0.7 * SIZE / 2
    write_dicom_series(Volume(voxels, affine, "HU"), folder, identity=identity_of(0, 0))
    for path in folder.iterdir():
        enrich(path)


def write_archive(folder: Path, *, n_files: int) -> None:
    """Write an archive of CT series in folders by study and series, each with as many attributes as scanners write."""
    template = folder.with_name(f"{folder.name}_template")
    voxels = np.zeros((ARCHIVE_SIZE, ARCHIVE_SIZE, SLICES_A_SERIES), dtype=np.int16)
    affine = np.diag([-0.7, -0.7, 1.25, 1.0])
    parts = write_dicom_series(Volume(voxels, affine, "HU"), template, identity=identity_of(0, 0))
    for path in parts:
        enrich(path)
    contents = [path.read_bytes() for path in parts]
    for number in range(n_files):
        series, index = divmod(number, SLICES_A_SERIES)
        place = folder / f"study{series // SERIES_A_STUDY:05d}" / f"series{series:05d}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{index:04d}.dcm").write_bytes(renamed(contents[index], index, series))


def identity_of(study: int, series: int) -> SeriesIdentity:
    """Return ids of fixed length, so that one file's bytes become another's."""
    return SeriesIdentity(
        patient_id=f"bench-patient-{study:06d}",
        study_uid=f"2.25.1111{study:020d}",
        series_uid=f"2.25.2222{series:020d}",
        frame_of_reference_uid=f"2.25.3333{study:020d}",
        study_date="20200101",
    )


def renamed(data: bytes, index: int, series: int) -> bytes:
    """Give slice ``index`` of the first series the ids of another series."""
    old, new = identity_of(0, 0), identity_of(series // SERIES_A_STUDY, series)
    for name in ("patient_id", "study_uid", "series_uid", "frame_of_reference_uid"):
        data = data.replace(getattr(old, name).encode(), getattr(new, name).encode())
    instance = derived_uid(old.series_uid, str(index))
    other = f"{instance[:-9]}{(int(instance[-9:]) + series) % 10**9:09d}"
    return data.replace(instance.encode(), other.encode())


def enrich(path: Path) -> None:
    """Add what a scanner's file has beside the image: texts, a sequence and private blocks, about 125 elements."""
    import pydicom
    from pydicom.dataset import Dataset

    dataset = pydicom.dcmread(path)
    dataset.AccessionNumber, dataset.ConvolutionKernel = "ACC000000000001", "B30f"
    for group in (0x0008, 0x0010, 0x0018, 0x0032, 0x0040):
        for element in range(0x1100, 0x1110):
            dataset.add_new((group + 1, 0x0010), "LO", "BENCH 1.0")
            dataset.add_new((group + 1, element), "LO", f"a value of {element} that nobody reads")
    request = Dataset()
    request.RequestedProcedureDescription, request.ScheduledProcedureStepID = "CT THORAX", "1"
    dataset.RequestAttributesSequence = [request]
    dataset.save_as(path)


if __name__ == "__main__":
    sys.exit(main())
