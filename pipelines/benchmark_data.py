"""Preparing and keeping images, medfuse against MONAI: the same files, in turns, in one run.

Run it by ``make bench-data``. MONAI runs at its best: its reader prunes metadata, its data set holds plain tensors.
Every timed round runs all peers once; the ratio is that of their fastest rounds. Memory is measured in a process a
peer, above what its imports and a first small series took.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from medfuse.config import CacheConfig, ChannelConfig, ImageConfig, TextConfig
from medfuse.data import BoxStore, Case, Preparer, Preprocessing, fill_store, load_cases, open_store, to_samples
from medfuse.data.prepared import PreparedImage
from medfuse.io import (
    LesionEntry,
    Pseudonymizer,
    SeriesIdentity,
    StudyEntry,
    read_manifest,
    read_volume,
    write_dicom_series,
    write_nifti,
)
from medfuse.types import CaseId, Target, Volume
from pipelines.benchmark_rows import Row, make_row, show

COMMAND = "make bench-data"
row = partial(make_row, command=COMMAND)
GROWTH_ROUNDS = 3
SHAPE, SPACING = (512, 512, 200), (0.70, 0.70, 1.25)
SIZE, WINDOW = 64, (-1000.0, 400.0)
CENTRE = (10.3, -20.7, 125.4)
NAMES = Pseudonymizer(bytes(32))
TARGET = Target("label", "binary", ("no", "yes"))
PREPROCESSING = Preprocessing(
    ImageConfig(size=(SIZE,) * 3, spacing_mm=1.0, channels=(ChannelConfig(intensity=WINDOW),)),
    TextConfig(),
    "HU",
    ("image",),
)
SMALL = PREPROCESSING.image.model_copy(update={"size": (16, 16, 16)})
PEERS = ("medfuse", "monai", "monai_crop")
Timer = Mapping[str, Callable[[], object]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--out FILE``, ``--rounds N``, ``--boxes N`` (kept boxes that are read), ``--scale N ...`` (samples of the
        growth), and ``--work DIR`` for the files (by default a temporary folder).

    Returns
    -------
    int
        0 if every aim is met, else 1.
    """
    parser = argparse.ArgumentParser(prog="benchmark_data", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("reports/performance/data.json"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--boxes", type=int, default=1000)
    parser.add_argument("--scale", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--work", type=Path)
    parser.add_argument("--peak", choices=PEERS, help="Print the peak memory of one peer on SERIES and SMALL.")
    parser.add_argument("--grow", type=int, help="Fill a store with so many samples of --work; print time and memory.")
    parser.add_argument("series", type=Path, nargs="*")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    logging.getLogger("monai").setLevel(logging.ERROR)
    if options.peak:
        print(json.dumps(measure_peak(options.peak, *options.series)))
        return 0
    if options.grow:
        print(json.dumps(measure_growth(options.work, options.grow)))
        return 0
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        rows = [*compare_preparing(Path(folder), rounds=options.rounds)]
        rows += compare_reading(Path(folder), n_boxes=options.boxes, rounds=options.rounds)
        rows += grow(Path(folder), sizes=sorted(options.scale), rounds=min(options.rounds, GROWTH_ROUNDS))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return show(rows)


def compare_preparing(folder: Path, *, rounds: int) -> Iterator[Row]:
    """Prepare one box of a DICOM series by each peer; hold the values against SimpleITK."""
    series, small = folder / "series", folder / "small"
    write_series(series, SHAPE)
    write_series(small, (96, 96, 100))
    peers = {name: preparer_of(name, series) for name in PEERS}
    if {tuple(run().shape) for run in peers.values()} != {(1, SIZE, SIZE, SIZE)}:
        raise SystemExit("error: benchmark: the boxes are not of one shape")
    times = in_turns(peers, rounds=rounds)
    peaks = {name: peak_of(name, series, small) for name in PEERS}
    what = f"prepare: DICOM {SHAPE[0]} x {SHAPE[1]} x {SHAPE[2]} to a box of {SIZE}^3 at 1 mm"
    yield row(f"{what}, against MONAI dictionary transforms", times["medfuse"], times["monai"], aim=45)
    yield row(f"{what}, against MONAI crop then Spacingd", times["medfuse"], times["monai_crop"], aim=10)
    yield row(f"{what}, extra memory, against 50 MB", peaks["medfuse"], 50.0, unit="MB", aim=1)
    for name, told in (("monai", "MONAI dictionary transforms"), ("monai_crop", "MONAI crop then Spacingd")):
        yield row(f"{what}, extra memory, against {told}", peaks["medfuse"], peaks[name], unit="MB", aim=1)
    found = difference_to_simpleitk(series)
    yield row(
        "prepare: largest difference to SimpleITK of values from 0 to 1, against 1e-4", found, 1e-4, unit="", aim=1
    )


def preparer_of(name: str, series: Path) -> Callable[[], torch.Tensor]:
    """Return what prepares the box of a series as a peer does, from the path to a float32 tensor in [0, 1]."""
    return medfuse_box(series) if name == "medfuse" else monai_box(series, native_crop=name == "monai_crop")


def medfuse_box(series: Path) -> Callable[[], torch.Tensor]:
    """Prepare as training does where nothing is kept."""
    centre = CENTRE if "small" not in series.name else (0.0, 0.0, 60.0)
    entry = StudyEntry("study", "patient", {"image": series}, lesions=(LesionEntry("1", centre=centre),), unit="HU")

    def prepare() -> torch.Tensor:
        refusals: list[Any] = []
        image = Preparer(PREPROCESSING, NAMES)(entry, refusals=refusals)["1"].tensor()
        if image is None or refusals:
            raise SystemExit(f"error: benchmark: {refusals}")
        return image

    return prepare


def monai_box(series: Path, *, native_crop: bool) -> Callable[[], torch.Tensor]:
    """Prepare as MONAI tutorials do: load, orient, resample, scale, crop; or crop around the box before resampling."""
    from monai import transforms as mt
    from monai.data import PydicomReader

    reader: Any = PydicomReader(prune_metadata=True)
    load: Any = mt.Compose(
        [mt.LoadImaged("image", reader=reader, ensure_channel_first=True), mt.Orientationd("image", "RAS", labels=None)]
    )
    rest: Any = mt.Compose(
        [
            mt.Spacingd("image", pixdim=(1.0, 1.0, 1.0), mode="bilinear"),
            mt.ScaleIntensityRanged("image", *WINDOW, 0.0, 1.0, clip=True),
        ]
    )

    def prepare() -> Any:
        found = load({"image": str(series)})
        if native_crop:
            found["image"] = cropped(found["image"], [int(np.ceil((SIZE + 4) / step)) for step in SPACING])
        return cropped(rest(found)["image"], [SIZE] * 3)

    return prepare


def cropped(image: Any, size: Sequence[int]) -> Any:
    """Cut a box around the centre out of an image of MONAI's."""
    from monai.transforms import SpatialCrop

    index = np.linalg.solve(np.asarray(image.affine), [*CENTRE, 1.0])[:3]
    places = zip(index, size, image.shape[1:], strict=True)
    start = [int(np.clip(round(i - n / 2), 0, max(0, m - n))) for i, n, m in places]
    return SpatialCrop(roi_start=start, roi_end=[a + n for a, n in zip(start, size, strict=True)])(image)


def difference_to_simpleitk(series: Path) -> float:
    """Return how far prepared values are from those of SimpleITK's linear resampling at the same coordinates."""
    itk: Any = importlib.import_module("SimpleITK")
    volume = read_volume(series)
    image = itk.GetImageFromArray(volume.voxels.T)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    x, y, z = (c - (SIZE - 1) / 2 for c in CENTRE)
    turned = [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0]
    box = itk.Resample(
        image, [SIZE] * 3, itk.Transform(), itk.sitkLinear, [-x, -y, z], [1.0] * 3, turned, WINDOW[0], itk.sitkFloat64
    )
    low, high = WINDOW
    expected = np.clip((itk.GetArrayFromImage(box).T - low) / (high - low), 0, 1)
    return float(np.abs(medfuse_box(series)()[0].numpy() - expected).max())


def peak_of(name: str, series: Path, small: Path) -> float:
    """Measure one peer's memory in a process of its own."""
    done = run_self("--peak", name, str(series), str(small))
    return float(done["peak_mb"])


def measure_peak(name: str, series: Path, small: Path) -> dict[str, float]:
    """Return the peak memory of preparing one box, in MB above what this process took before."""
    preparer_of(name, small)()
    run = preparer_of(name, series)
    before = reset_peak()
    run()
    return {"peak_mb": round(max(peak_bytes() - before, 0) / 1e6, 1)}


def compare_reading(folder: Path, *, n_boxes: int, rounds: int) -> Iterator[Row]:
    """Read kept boxes in random order into float32 tensors, from medfuse and from MONAI."""
    from monai.data import PersistentDataset
    from monai.transforms import Compose, EnsureTyped, Lambdad

    rng = np.random.default_rng(0)
    steps = rng.integers(0, 65535, (1, SIZE, SIZE, SIZE), dtype=np.uint16)
    kept = folder / "kept"
    with BoxStore(kept, max_bytes=10**11) as store:
        boxes = [store.add(b"%d" % n, steps + np.uint16(n), {"unit": "HU"}, request=b"?%d" % n) for n in range(n_boxes)]
    cases = [Case(CaseId("S", str(n)), "P", "P", PreparedImage(box, None), None, {}, {}) for n, box in enumerate(boxes)]
    samples = to_samples(cases, PREPROCESSING)
    image = torch.from_numpy(rng.random((1, SIZE, SIZE, SIZE), dtype=np.float32))
    persistent = PersistentDataset(
        [{"image": n} for n in range(n_boxes)],
        Compose([Lambdad("image", lambda n: image + n), EnsureTyped("image", track_meta=False)]),
        cache_dir=folder / "persistent",
        hash_transform=None,
    )
    order = rng.permutation(n_boxes).tolist()
    if {type(samples[n].image) for n in order} | {type(persistent[n]["image"]) for n in order} != {torch.Tensor}:
        raise SystemExit("error: benchmark: a box is missing")

    def read_medfuse() -> None:
        for n in order:
            samples[n]

    def read_monai() -> None:
        for n in order:
            persistent[n]

    times = in_turns({"medfuse": read_medfuse, "monai": read_monai}, rounds=4 * rounds)
    rate = {name: n_boxes / ms * 1000 for name, ms in times.items()}
    what = f"warm cache: boxes of {SIZE}^3 to float32 in random order"
    yield rate_row(f"{what}, against 10,000/s", rate["medfuse"], 10_000.0, aim=1)
    yield rate_row(f"{what}, against MONAI PersistentDataset", rate["medfuse"], rate["monai"], aim=2.5)
    files = {name: (folder / name).iterdir() for name in ("kept", "persistent")}
    size = {name: sum(path.stat().st_size for path in paths) / n_boxes / 1e6 for name, paths in files.items()}
    yield row(
        "warm cache: bytes a box, against MONAI PersistentDataset", size["kept"], size["persistent"], unit="MB", aim=1.9
    )


def grow(folder: Path, *, sizes: Sequence[int], rounds: int) -> Iterator[Row]:
    """Prepare, load and read growing data sets, each in a process of its own: time a sample and memory stay flat."""
    cohort = folder / "cohort"
    write_cohort(cohort, sizes)
    found: dict[int, dict[str, float]] = {n: {} for n in sizes}
    for _ in range(rounds):
        for n, best in found.items():
            now = run_self("--work", str(cohort), "--grow", str(n))
            best.update({key: min(value, best.get(key, value)) for key, value in now.items()})
    first = found[sizes[0]]
    for n in sizes[1:]:
        against = f"of {n} samples, against {sizes[0]}"
        for key, told in (("fill_ms", "prepare"), ("load_ms", "load from the cache"), ("epoch_ms", "epoch")):
            yield row(f"{told}, time a sample {against}", found[n][key], first[key], aim=0.7 * (n == sizes[-1]))
        for key, told in (("fill_mb", "prepare"), ("epoch_mb", "load and epoch")):
            yield row(f"{told}, peak memory {against}", found[n][key], first[key], unit="MB", aim=0.8)


def measure_growth(cohort: Path, n_samples: int) -> dict[str, float]:
    """Fill a store, load the cases from it, and read each image once; in this process, whose memory is that."""
    preprocessing = replace(PREPROCESSING, image=SMALL)
    with tempfile.TemporaryDirectory() as kept:
        for n in (10, n_samples):  # the first pays for what is imported where it is used
            cache = CacheConfig(folder=f"{kept}/{n}")
            manifest = read_manifest(cohort / f"manifest_{min(n, n_samples)}.csv")
            reset_peak()
            started = time.perf_counter()
            fill_store(manifest, preprocessing=preprocessing, cache=cache, pseudonymizer=NAMES)
            filled = time.perf_counter()
            fill_peak = peak_bytes()
            reset_peak()
            with open_store(cache) or nullcontext() as store:
                loaded = load_cases(manifest, preparer=Preparer(preprocessing, NAMES, store), targets=[TARGET])
            at_hand = time.perf_counter()
            total = sum(
                float(sample.image.sum())
                for sample in to_samples(loaded.cases, preprocessing)
                if sample.image is not None
            )
            done = time.perf_counter()
            if not total or len(loaded.cases) != n:
                raise SystemExit("error: benchmark: a sample is missing")
    per_sample = 1000 / n_samples
    return {
        "fill_ms": (filled - started) * per_sample,
        "load_ms": (at_hand - filled) * per_sample,
        "epoch_ms": (done - at_hand) * per_sample,
        "fill_mb": fill_peak / 1e6,
        "epoch_mb": peak_bytes() / 1e6,
    }


def write_series(folder: Path, shape: tuple[int, int, int]) -> None:
    """Write a CT series."""
    voxels = np.random.default_rng(0).integers(-1024, 1000, shape, dtype=np.int16)
    affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
    affine[:2, 3] = [step * n / 2 for step, n in zip(SPACING[:2], shape[:2], strict=True)]
    identity = SeriesIdentity("patient", "2.25.1", "2.25.2", "2.25.3")
    write_dicom_series(Volume(voxels, affine, "HU"), folder, identity=identity)


def write_cohort(folder: Path, sizes: Sequence[int]) -> None:
    """Write small studies of one lesion each, and a manifest of the first 10 and of each number."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for n in range(max(sizes)):
        voxels = rng.integers(-1000, 400, (20, 20, 20), dtype=np.int16)
        write_nifti(Volume(voxels, np.eye(4), "HU"), folder / f"{n}.nii")
    numbers = np.arange(max(sizes))
    frame = pd.DataFrame({"patient_id": numbers, "study_uid": numbers, "image_path": [f"{n}.nii" for n in numbers]})
    frame = frame.assign(roi_x_mm=9.3, roi_y_mm=10.1, roi_z_mm=9.9, label_label=np.where(numbers % 2, "yes", "no"))
    for size in {10, *sizes}:
        frame.head(size).to_csv(folder / f"manifest_{size}.csv", index=False)


def run_self(*arguments: str) -> dict[str, float]:
    """Run this script in a process of its own, and return what it prints."""
    command = [sys.executable, "-m", "pipelines.benchmark_data", *arguments]
    # Without what makes malloc keep memory, which would leave room from the first small series.
    plain = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=plain)  # noqa: S603 - this module
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def in_turns(peers: Timer, *, rounds: int) -> dict[str, float]:
    """Return each peer's fastest round, ms; the first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds + 1):
        for name, run in peers.items():
            started = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - started) * 1000)
    return {name: min(found[1:]) for name, found in times.items()}


def reset_peak() -> int:
    """Give back what is free, forget this process's peak memory, and return what it holds now, in bytes."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status_bytes("VmRSS")


def peak_bytes() -> int:
    """Return this process's peak memory. Not getrusage's, which is inherited from the process that started it."""
    return _status_bytes("VmHWM")


def _status_bytes(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def rate_row(name: str, ours: float, theirs: float, *, aim: float) -> Row:
    """Return one row of rates: how many times higher ours is."""
    return row(name, ours, theirs, aim=aim, unit="samples/s") | {"ratio": float(f"{ours / theirs:.4g}")}


if __name__ == "__main__":
    sys.exit(main())
