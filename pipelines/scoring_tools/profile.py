"""Where the time of one study goes, and the least that reading its bytes and computing its answer can take."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from medfuse.data import collate
from medfuse.inference import Predictor
from medfuse.io import Pseudonymizer
from medfuse.io.inputs import FoundStudies
from medfuse.io.volumes import open_source, source_files, source_stack
from medfuse.scoring.preparing import prepare_study
from medfuse.scoring.scorer import Scorer
from medfuse.scoring.work import to_works
from medfuse.tensors import Sample

__all__ = ["profile_study"]

ROUNDS = 5
HEADER_BYTES = 4096
GEMM = 1024


def profile_study(archive: str, rois: str, model: str) -> dict[str, Any]:
    """Take the CPU time of each stage of a study in this process.

    Returns
    -------
    dict
        ``stages_ms``, whose sum is what a study takes, and ``floor_ms``: the files' headers, and of the slices that the
        box meets the bytes of its rows, each read by one call of the system; the model's multiplications at the
        rate of a product of two matrices.
    """
    torch.set_num_threads(1)
    predictor = Predictor.load(model)
    entries = FoundStudies(Path(archive), rois=Path(rois)).entries(unit=predictor.preprocessing.unit)
    works = [work for work in to_works(entries, Pseudonymizer(bytes(32))) if work.entry.lesions]
    sources = [source for work in works for source in work.entry.images.values()]
    samples = [
        sample
        for work in works
        for sample in prepare_study(work, preprocessing=predictor.preprocessing, position="require").samples
    ]
    scorer = Scorer(predictor, position="require", study_seconds=300)
    n = len(works)

    def fastest(run: Callable[[], object]) -> float:
        times = []
        for _ in range(ROUNDS):
            started = time.process_time()
            run()
            times.append(time.process_time() - started)
        return 1000 * min(times) / n

    headers = fastest(lambda: [source_stack(source) for source in sources])
    opened = fastest(lambda: [open_source(source) for source in sources])
    prepared = fastest(
        lambda: [prepare_study(work, preprocessing=predictor.preprocessing, position="require") for work in works]
    )
    forward = fastest(lambda: [predictor.predict_samples(samples[k : k + 8]) for k in range(0, n, 8)])
    whole = fastest(lambda: list(scorer.run(works)))
    stages = {
        "reading 200 headers": headers,
        "checking them as one volume": max(opened - headers, 0.0),
        "reading, resampling and checking the box": max(prepared - opened, 0.0),
        "the model and its calibration": forward,
        "rows and everything else": max(whole - prepared - forward, 0.0),
    }
    paths = [source_files(source) for source in sources]
    volume = open_source(sources[0])
    box = predictor.preprocessing.image
    extent = [size * (box.spacing_mm or 1.0) for size in box.size]
    columns = int(extent[0] / abs(volume.affine[0, 0])) + 2
    rows = int(extent[1] / abs(volume.affine[1, 1])) + 2
    slices = int(extent[2] / abs(volume.affine[2, 2])) + 2
    part = rows * volume.shape[0] * 2
    floor = {
        "opening and reading 200 headers": fastest(
            lambda: [_read(path, HEADER_BYTES) for files in paths for path in files]
        ),
        f"reading {rows} rows of {slices} slices ({columns} of {volume.shape[0]} columns are used)": fastest(
            lambda: [_read(path, part) for files in paths for path in files[:slices]]
        ),
        "the model's multiplications at the rate of matrix products": _least_compute(predictor, samples[0]),
    }
    return {"stages_ms": stages, "floor_ms": floor}


def _read(path: Path, n_bytes: int) -> int:
    """Read the start of a file; return how much there was."""
    descriptor = os.open(path, os.O_RDONLY)
    n_read = len(os.pread(descriptor, n_bytes, 0))
    os.close(descriptor)
    return n_read


def _least_compute(predictor: Predictor, sample: Sample) -> float:
    """Return the model's floating-point operations over the measured rate of a matrix product, ms."""
    preparation = predictor.preprocessing
    batch = collate([sample], modalities=preparation.modalities, image_shape=preparation.image_shape)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        predictor.bundle.model(batch)
    one, other = torch.rand(GEMM, GEMM), torch.rand(GEMM, GEMM)
    times = []
    for _ in range(ROUNDS):
        started = time.process_time()
        one @ other
        times.append(time.process_time() - started)
    return float(1000 * counter.get_total_flops() / (2 * GEMM**3 / min(times)))
