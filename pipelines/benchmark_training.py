"""Training, medfuse against eager float32: the same model, weights and batch, in turns, in one run.

Run it by ``make bench-training``. The other side is the same network as torch trains it unless told otherwise: float32,
torch's dropout, AdamW as it comes, the fixed statistics of the boxes computed at every step, the default allocator
and waiting. Each side is measured in processes of its own, since allocator settings hold for a process; the ratio is
that of the fastest steps. On a machine with a GPU its rows say how far the GPU is used; without one they say it of the
processor, at a small size.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from timeit import timeit
from typing import Any

import lightning
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from medfuse.config import RunConfig, load_config
from medfuse.data import BoxStore, Case
from medfuse.data.prepared import PreparedImage
from medfuse.inference import build_member_for
from medfuse.models import TargetLoss, study_loss
from medfuse.models.dropout import Dropout
from medfuse.models.precision import train_in
from medfuse.training.case_data import CaseData
from medfuse.training.epochs import run_epochs
from medfuse.training.fitting import make_preprocessing
from medfuse.training.module import ClassifierModule
from medfuse.types import CaseId, ReportText
from pipelines.benchmark_rows import Row, make_row, show

COMMAND = "make bench-training"
row = partial(make_row, command=COMMAND)
CONFIG = Path("configs/lidc.yaml")
VOCABULARY, N_VALIDATION = 500, 64
Figures = dict[str, float]

# What is trained: its name, image encoder (that of the configuration if None), edge of the box, cases a batch.
MODELS: dict[str, tuple[str, dict[str, Any] | None, int, int]] = {
    "default": ("the model of configs/lidc.yaml, 32 boxes of 32^3 and their reports", None, 32, 32),
    "small_cnn": ("small_cnn, 16 boxes of 64^3", {"name": "small_cnn"}, 64, 16),
    "resnet18_64": ("resnet18, 4 boxes of 64^3", {"name": "resnet18"}, 64, 4),
    "resnet18_96": ("resnet18, 2 boxes of 96^3", {"name": "resnet18"}, 96, 2),
    "resnet18_small": ("resnet18 a quarter as wide, 8 boxes of 32^3", {"name": "resnet18", "width": 16}, 32, 8),
}
AIMS = {"default": 1.8}
AIM_GRADIENT = {"default": 1.0}
GPU_BATCH = {"default": 512, "resnet18_96": 64}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--out FILE``, ``--rounds N`` (processes a side), ``--steps N`` (a process), ``--models NAME ...``,
        ``--scale N ...`` (samples of the growth), ``--threads N``.

    Returns
    -------
    int
        0 if every aim is met, else 1.
    """
    parser = argparse.ArgumentParser(prog="benchmark_training", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("reports/performance/training.json"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--models", nargs="*", default=["default", "small_cnn", "resnet18_64", "resnet18_96"])
    parser.add_argument("--scale", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--measure", nargs="+", help="Measure one thing in this process and print it as JSON.")
    options = parser.parse_args(argv)
    if options.measure:
        what, *arguments = options.measure
        print(json.dumps(MEASURES[what](*arguments)))
        return 0
    rows: list[Row] = []
    for name in options.models:
        rows += compare_step(name, rounds=options.rounds, steps=options.steps, threads=options.threads)
    rows += grow_epoch(options.scale, threads=options.threads)
    rows += use_device(threads=options.threads)
    options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return show(rows)


def compare_step(name: str, *, rounds: int, steps: int, threads: int) -> list[Row]:
    """Time one training step of both sides, in turns, and compare their gradients."""
    found: dict[str, list[Figures]] = {"medfuse": [], "eager": []}
    n_steps = steps if name in ("default", "small_cnn") else max(steps // 5, 2)
    for _ in range(rounds):
        for side, figures in found.items():
            figures.append(measured("step", name, side, str(n_steps), side=side, threads=threads))
    ours, theirs = (min(figures["ms"] for figures in found[side]) for side in ("medfuse", "eager"))
    most = {side: min(figures["peak_mb"] for figures in figures_of) for side, figures_of in found.items()}
    error = max(measured("gradients", name, side="medfuse", threads=threads)["percent"], 0.001)
    step = f"training step of {MODELS[name][0]}"
    return [
        row(f"{step}, against eager float32", ours, theirs, aim=AIMS.get(name)),
        row(f"{step}, its gradient off float32's, of 1 % aimed at", error, 1.0, unit="%", aim=AIM_GRADIENT.get(name)),
        row(f"{step}, peak memory of the process", most["medfuse"], most["eager"], unit="MB"),
    ]


def grow_epoch(sizes: Sequence[int], *, threads: int) -> list[Row]:
    """Train epochs of growing size from the store: time per sample and peak memory stay flat."""
    found = {n: measured("epoch", str(n), side="medfuse", threads=threads) for n in sorted(sizes)}
    rows = []
    for n in list(found)[1:]:
        first, now = found[min(found)], found[n]
        against = f"of {n} samples, against {min(found)}"
        rows += [
            row(f"epoch, time per sample {against}", now["ms"], first["ms"], aim=0.8),
            row(f"epoch, peak memory {against}", now["peak_mb"], first["peak_mb"], unit="MB", aim=0.8),
        ]
    return rows


def use_device(*, threads: int) -> list[Row]:
    """Say how fast the device trains from the store, how far its bfloat16 peak is used, and how long it waits."""
    on_gpu = torch.cuda.is_available()
    rows = []
    for name in ("default", "resnet18_96" if on_gpu else "resnet18_small"):
        found = measured("device", name, side="medfuse", threads=threads)
        what = f"{MODELS[name][0].split(',')[0]} on {'a GPU' if on_gpu else 'the processor'}"
        rows += [
            row(f"{what}, samples a second", found["samples_per_s"], found["samples_per_s"], unit="/s"),
            row(f"{what}, arithmetic against the bfloat16 peak", found["peak"], found["arithmetic"], unit="GF/s"),
            row(
                f"{what}, share of the time that it computes",
                100.0,
                found["busy"],
                unit="%",
                aim=0.9 if on_gpu else None,
            ),
        ]
    return rows


def measured(*arguments: str, side: str, threads: int) -> Figures:
    """Measure in a process of its own; medfuse's side makes its settings as its commands do, the other has none."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "OMP_WAIT"))}
    command = [sys.executable, "-m", "pipelines.benchmark_training", "--measure", *arguments]
    if side == "medfuse":
        command = [sys.executable, "-c", PREPARED, *command[3:]]
    environment = {**plain, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)  # noqa: S603 - this very module
    if done.returncode:
        raise SystemExit(f"error: benchmark: {' '.join(arguments)} failed: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


PREPARED = """from medfuse.memory import prepare_process; prepare_process()
from pipelines.benchmark_training import main; main()"""


def measure_step(name: str, side: str, steps: str) -> Figures:
    """Time whole steps."""
    train, batch = make_step(name, side=side)
    times = [timeit(lambda: train(batch), number=1) for _ in range(int(steps) + 2)]
    return {"ms": min(times[2:]) * 1e3, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def measure_gradients(name: str) -> Figures:
    """Compare the gradient of one step, as medfuse trains it, to that in float32 from the image alone."""
    found = []
    for side in ("medfuse", "float32"):
        step, batch = make_step(name, side=side)
        torch.manual_seed(1)
        step.backward(batch)
        weights = step.module.model.parameters()
        found.append(torch.cat([weight.grad.flatten().double() for weight in weights if weight.grad is not None]))
    return {"percent": float((found[0] - found[1]).norm() / found[1].norm() * 100)}


def measure_epoch(n_samples: str) -> Figures:
    """Train some epochs of the default model from the store, as ``medfuse train`` does."""

    class Clock(lightning.Callback):
        seconds: list[float] = []  # noqa: RUF012 - one is made

        def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            self.start = time.perf_counter()

        def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
            if trainer.is_last_batch:
                self.seconds.append(time.perf_counter() - self.start)

    n, clock = int(n_samples), Clock()
    with tempfile.TemporaryDirectory() as folder:
        module, data = make_training("default", n_samples=n, epochs=max(4, min(20, 4000 // n)), folder=Path(folder))
        run_epochs(module, data, callbacks=[clock])
        trained = data.n_batches * data.batch_size
    return {
        "ms": min(clock.seconds[1:]) * 1e3 / trained,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure_device(name: str) -> Figures:
    """Train from the store on the best device; count its arithmetic and the time that it waits for batches."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batch_size = GPU_BATCH[name] if device == "cuda" else MODELS[name][3]
    n_steps = 20
    with tempfile.TemporaryDirectory() as folder:
        n_samples = batch_size * n_steps
        module, data = make_training(name, n_samples=n_samples, batch_size=batch_size, folder=Path(folder))
        train = Step(module, module.to(device).configure_optimizers()["optimizer"])
        batches = iter(data.train_dataloader())
        first = next(batches)
        for _ in range(3):
            train(first.to(device))
        with FlopCounterMode(display=False) as counter:
            train(first.to(device))
        n, busy, seconds = run_timed(train, batches, device)
    flops = counter.get_total_flops() * n / seconds
    return {
        "samples_per_s": n * batch_size / seconds,
        "arithmetic": flops / 1e9,
        "peak": bfloat16_peak(device) / 1e9,
        "busy": busy * 100,
    }


def run_timed(train: Callable[[Any], None], batches: Iterator[Any], device: str) -> tuple[int, float, float]:
    """Return steps, share of the time that the device computes, and seconds."""
    computed, n, start = 0.0, 0, time.perf_counter()
    if device == "cuda":
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            for batch in batches:
                train(batch.to(device, non_blocking=True))
                n += 1
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        computed = sum(event.self_device_time_total for event in profile.key_averages()) / 1e6
        return n, min(computed / seconds, 1.0), seconds
    for batch in batches:
        given = time.perf_counter()
        train(batch)
        computed += time.perf_counter() - given
        n += 1
    seconds = time.perf_counter() - start
    return n, computed / seconds, seconds


def bfloat16_peak(device: str) -> float:
    """Return the operations a second of a large product of bfloat16 matrices."""
    n = 8192 if device == "cuda" else 1024
    a, b = (torch.rand(n, n, device=device).bfloat16() for _ in range(2))
    # Reading one number waits for the product.
    return 2 * n**3 / min(timeit(lambda: float((a @ b)[0, 0]), number=1) for _ in range(8))


def settings_of(name: str, *, epochs: int = 1, batch_size: int = 0) -> RunConfig:
    """Return the configuration of what is trained."""
    _, encoder, edge, usual = MODELS[name]
    chosen = [f"data.image.size=[{edge}, {edge}, {edge}]", f"optim.epochs={epochs}", f"optim.patience={epochs}"]
    chosen.append(f"optim.batch_size={batch_size or usual}")
    if encoder is not None:
        chosen += [f"model.image_encoder={json.dumps(encoder)}", "compute.precision=bfloat16"]
    if torch.cuda.is_available():
        chosen.append("compute.workers=8")
    return load_config(CONFIG, overrides=chosen)


class Step:
    """One training step: forward, loss, backward, clipping, optimiser, running mean of the weights."""

    def __init__(self, module: Any, optimizer: Any) -> None:
        self.module = module.train()
        self.optimizer = optimizer

    def backward(self, batch: Any) -> None:
        """Compute the gradients."""
        module = self.module
        losses = study_loss(
            module.model(batch),
            batch,
            targets=module.losses,
            attributes=module.attributes,
            optim=module.optim,
            aligner=module.model.aligner,
        )
        self.optimizer.zero_grad()
        torch.autograd.backward(losses["total"])
        torch.nn.utils.clip_grad_norm_(module.model.parameters(), module.optim.clip_norm)

    def __call__(self, batch: Any) -> None:
        """Train."""
        self.backward(batch)
        self.optimizer.step()
        self.module.averaged.update_parameters(self.module.model)


def make_step(name: str, *, side: str, device: str = "cpu") -> tuple[Step, Any]:
    """Return a training step of one side, and the batch that all sides train on."""
    module, data = make_training(name, n_samples=MODELS[name][3])
    batch = next(iter(data.train_dataloader()))
    if side == "medfuse":
        optimizer = module.to(device).configure_optimizers()["optimizer"]
    else:
        train_in(module, torch.float32)
        batch = replace(batch, image_features=torch.zeros(len(batch), 0))
        optimizer = torch.optim.AdamW(module.to(device).model.parameters(), lr=1e-3)
    if side == "eager":
        use_torch_dropout(module.model)
    return Step(module, optimizer), batch.to(device)


def use_torch_dropout(model: nn.Module) -> None:
    """Put torch's dropout in the place of ours."""
    for parent, child, part in [(p, c, part) for p in model.modules() for c, part in p.named_children()]:
        if isinstance(part, Dropout):
            setattr(parent, child, nn.Dropout1d(part.p) if part.whole_channels else nn.Dropout(part.p))


def make_training(
    name: str, *, n_samples: int, epochs: int = 1, batch_size: int = 0, folder: Path | None = None
) -> tuple[Any, Any]:
    """Return a module and its data, as a training makes them: reports, and boxes in a store or in memory."""
    config = settings_of(name, epochs=epochs, batch_size=batch_size)
    store = None if folder is None else BoxStore(folder, max_bytes=10**11)
    cases = [make_case(index, config, store) for index in range(n_samples + N_VALIDATION)]
    parts = {"train": cases[:n_samples], "validation": cases[n_samples:]}
    preprocessing = make_preprocessing(config, [case.text.text for case in cases[:100]])
    losses, beside = (
        {one.build().name: TargetLoss(one.build(), config.optim.loss) for one in group}
        for group in (config.targets, config.attributes)
    )
    torch.manual_seed(0)
    model = build_member_for(
        preprocessing, config.model, [loss.target for loss in (*losses.values(), *beside.values())]
    )
    train_in(model, getattr(torch, config.compute.precision))
    data = CaseData(config, preprocessing, model=model, parts=parts)
    steps = epochs * data.n_batches
    return ClassifierModule(model, losses=losses, attributes=beside, optim=config.optim, steps=steps), data


def make_case(index: int, config: Any, store: Any) -> Any:
    """Return one case: a report, and a rough ball in an empty box."""
    draw = torch.Generator().manual_seed(index)
    edge = config.data.image.size[0]
    grid = torch.stack(torch.meshgrid(*[torch.arange(float(edge)) - (edge - 1) / 2] * 3, indexing="ij"))
    radius = edge * (0.1 + 0.3 * float(torch.rand((), generator=draw)))
    ball = (radius + 0.5 - grid.norm(dim=0)).clamp(0, 1) * (0.5 + 0.5 * torch.rand(edge, edge, edge, generator=draw))
    steps = (ball[None] * 65535).to(torch.int32).numpy().astype("uint16")
    key = f"{index:032d}".encode()
    words = torch.randint(0, VOCABULARY, (80,), generator=draw).tolist()
    return Case(
        CaseId(f"S{index}", "1"),
        patient_key=f"P{index}",
        patient_id=f"P{index}",
        prepared=PreparedImage(steps if store is None else store.add(key, steps, {}, request=key), None),
        text=ReportText("Findings: " + " ".join(f"word{word}" for word in words)),
        targets={target.name: index % 2 for target in config.targets},
        row={one.column: one.classes[index % len(one.classes)] for one in config.attributes},
    )


MEASURES: dict[str, Callable[..., Figures]] = {
    "device": measure_device,
    "epoch": measure_epoch,
    "gradients": measure_gradients,
    "step": measure_step,
}


if __name__ == "__main__":
    sys.exit(main())
