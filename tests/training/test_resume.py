"""The same model to the bit: again, with workers, and after any break."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

from medfuse.config import RunConfig, load_config
from medfuse.data import Case
from medfuse.errors import ConfigError, TrainingError
from medfuse.training import Fit, StopInTime, fit, train
from medfuse.training.parts import Parts, split_cases

EPOCHS = 4


class Break(lightning.Callback):
    """End the training after an epoch, or in the midst of one, as a lost machine would."""

    def __init__(self, *, epoch: int, batch: int | None = None) -> None:
        self.epoch, self.batch = epoch, batch

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.batch):
            raise ConnectionAbortedError

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: Any) -> None:
        if trainer.current_epoch == self.epoch and self.batch is None:
            raise ConnectionAbortedError


@pytest.fixture(scope="module")
def config(toy_config: RunConfig) -> RunConfig:
    """All that draws random numbers is on."""
    content = toy_config.model_dump(mode="json")
    content["optim"] |= {"epochs": EPOCHS, "average_best": 2, "accumulate": 2, "batch_size": 4}
    content["augment"] |= {
        "noise": 0.05, "rotate_degrees": 10.0, "cutout": 0.2, "shuffle_sentences": 0.5, "synonyms": 0.5,
    }  # fmt: skip
    content["model"]["image_encoder"] |= {"dropout": 0.2}
    content["model"]["text_encoder"] |= {"dropout": 0.2}
    return load_config(content)


@pytest.fixture(scope="module")
def parts(toy_cases: Sequence[Case], config: RunConfig) -> Parts:
    return split_cases(toy_cases, config.data, seed=config.seed)


@pytest.fixture(scope="module")
def whole(config: RunConfig, parts: Parts) -> Fit:
    return fit(config, train=parts.train, validation=parts.validation)


def check_equal(one: Fit, other: Fit) -> None:
    ours, theirs = one.bundle.model.state_dict(), other.bundle.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert one.history == other.history
    assert one.bundle.calibration == other.bundle.calibration
    assert one.best_epoch == other.best_epoch


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_any_number_of_workers_gives_the_same_model_to_the_bit(
    config: RunConfig, parts: Parts, whole: Fit, workers: int
) -> None:
    torch.manual_seed(workers)
    compute = config.compute.model_copy(update={"workers": workers})
    again = fit(
        config.model_copy(update={"compute": compute}), train=parts.train, validation=parts.validation
    )  # fmt: skip
    check_equal(again, whole)


@pytest.mark.parametrize("batch", [None, 1], ids=["between epochs", "in the midst of one"])
def test_a_broken_training_goes_on_to_the_same_model_to_the_bit(
    config: RunConfig, parts: Parts, whole: Fit, tmp_path: Path, batch: int | None
) -> None:
    options: dict[str, Any] = {"train": parts.train, "validation": parts.validation, "checkpoints": tmp_path}
    with pytest.raises(ConnectionAbortedError):
        fit(config, **options, callbacks=[Break(epoch=2, batch=batch)])
    check_equal(fit(config, **options, resume=True), whole)


def test_a_training_stopped_in_time_gives_its_best_model_so_far_and_goes_on(
    config: RunConfig, parts: Parts, whole: Fit, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"train": parts.train, "validation": parts.validation, "checkpoints": tmp_path}
    limit = StopInTime(0.0)
    limit.seconds = 1e9

    class RunOut(lightning.Callback):
        def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
            limit.seconds = 0.0 if trainer.current_epoch == 1 else limit.seconds

    stopped = fit(config, **options, callbacks=[RunOut(), limit])
    assert not stopped.is_complete
    assert len(stopped.history) == 2
    assert stopped.history == whole.history[:2]
    finished = fit(config, **options, resume=True)
    assert finished.is_complete
    check_equal(finished, whole)


@pytest.mark.parametrize("patience", [1, 20], ids=["stopped early", "at its last epoch"])
def test_a_training_broken_after_its_last_epoch_trains_no_further(
    config: RunConfig, parts: Parts, tmp_path: Path, patience: int
) -> None:
    optim = config.optim.model_copy(update={"patience": patience, "learning_rate": 0.5})
    config = config.model_copy(update={"optim": optim})
    options: dict[str, Any] = {"train": parts.train, "validation": parts.validation, "checkpoints": tmp_path}
    whole = fit(config, **options)
    assert (len(whole.history) < EPOCHS) == (patience == 1)
    check_equal(fit(config, **options, resume=True), whole)


def test_time_that_is_up_before_the_first_epoch_is_an_error(config: RunConfig, parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no epoch was finished before the time was up"):
        fit(
            config, train=parts.train, validation=parts.validation, checkpoints=tmp_path, callbacks=[StopInTime(1e-9)]
        )  # fmt: skip


def test_a_damaged_state_is_refused_by_name(config: RunConfig, parts: Parts, tmp_path: Path) -> None:
    state = tmp_path / "last" / "state.safetensors"
    state.parent.mkdir()
    state.write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(TrainingError, match=r"^checkpoint last: cannot be read"):
        fit(config, train=parts.train, validation=parts.validation, checkpoints=tmp_path, resume=True)


def test_another_config_is_not_gone_on_with(
    config: RunConfig, toy: Any, toy_cases: Sequence[Case], tmp_path: Path
) -> None:
    options: dict[str, Any] = {"out": tmp_path / "run", "manifest": toy.manifest, "cases": toy_cases}
    with pytest.raises(ConnectionAbortedError):
        train(config, **options, callbacks=[Break(epoch=1)])
    assert not (tmp_path / "run" / "run.json").exists()
    changed = config.model_copy(update={"optim": config.optim.model_copy(update={"learning_rate": 0.5})})
    with pytest.raises(ConfigError, match=r"^--resume: found optim.learning_rate = '0.5'; expected '0.02'"):
        train(changed, **options, resume=True)
    # The machine may be another one.
    elsewhere = config.model_copy(update={"compute": config.compute.model_copy(update={"workers": 1})})
    done = train(elsewhere, **options, resume=True)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert done.is_complete and record["is_complete"] and done.n_epochs == EPOCHS


KILLS = """
import os, signal, sys, time
from pathlib import Path
import torch
from medfuse.training.checkpoints import SafetensorsIO

path, io, begun = Path(sys.argv[1]), SafetensorsIO(), Path(sys.argv[2])
started = time.perf_counter()
io.save_checkpoint({"step": 1, "weights": torch.zeros(500_000)}, path)
a_save = time.perf_counter() - started
steps = []
for number in range(50):
    begun.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        step = 0
        while True:
            step += 1
            io.save_checkpoint({"step": step, "weights": torch.full((500_000,), float(step))}, path)
            begun.touch()
    while not begun.exists():
        time.sleep(0.0005)
    time.sleep(number / 50 * 5 * a_save)  # anywhere within the next saves
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found = io.load_checkpoint(path)
    if not torch.equal(found["weights"], torch.full((500_000,), float(found["step"]))):
        sys.exit("a checkpoint of two saves")
    steps.append(found["step"])
print(sum(steps), len(list(path.parent.glob(".*.part"))))
"""


@pytest.mark.slow
def test_fifty_saves_that_are_killed_each_leave_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last" / "state.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", KILLS, str(path), str(tmp_path / "begun")], capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    n_saves, n_partial = map(int, done.stdout.split())
    assert n_saves > 60  # kills fell into later saves too, not only right after the first
    assert n_partial <= 1
