import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from medfuse.training.callbacks import KeepBest, SeedSteps, ShowEpochs


class Averaged(nn.Module):
    """Stands for the lightning module: its running mean is what is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.averaged = nn.Module()
        self.averaged.module = nn.Linear(2, 1)


def run(keep: KeepBest, losses: list[float]) -> tuple[int, list[float]]:
    """Play the epochs; the weight of epoch n is n. Return how many ran and the weights' values."""
    module: Any = Averaged()
    trainer = SimpleNamespace(should_stop=False, current_epoch=0, callback_metrics={}, is_global_zero=True)
    for epoch, loss in enumerate(losses):
        with torch.no_grad():
            module.averaged.module.weight.fill_(float(epoch))
        trainer.current_epoch = epoch
        trainer.callback_metrics = {"validation_loss": torch.tensor(loss), "train_total": torch.tensor(1.0)}
        keep.on_train_epoch_end(trainer, module)  # type: ignore[arg-type]
        if trainer.should_stop:
            return epoch + 1, keep.best_weights.get("weight", torch.empty(0)).flatten().tolist()
    return len(losses), keep.best_weights.get("weight", torch.empty(0)).flatten().tolist()


def test_the_weights_of_the_best_epoch_are_kept() -> None:
    keep = KeepBest(patience=10)
    n_epochs, weights = run(keep, [0.9, 0.5, 0.3, 0.4, 0.35])
    assert (n_epochs, keep.best_epoch) == (5, 2)
    assert keep.best_loss == pytest.approx(0.3)
    assert weights == [2.0, 2.0]


def test_of_equal_epochs_the_first_is_kept() -> None:
    keep = KeepBest(patience=10)
    assert run(keep, [0.5, 0.3, 0.3])[1] == [1.0, 1.0]


@pytest.mark.parametrize(("patience", "n_epochs"), [(1, 3), (2, 4), (5, 7)])
def test_training_stops_after_as_many_epochs_without_a_better_one(patience: int, n_epochs: int) -> None:
    keep = KeepBest(patience=patience)
    assert run(keep, [0.5, 0.3, *[0.4] * 20])[0] == n_epochs
    assert keep.best_epoch == 1


def test_a_validation_loss_that_is_not_a_number_is_never_best() -> None:
    keep = KeepBest(patience=10)
    assert run(keep, [float("nan"), 0.7, float("nan")])[1] == [1.0, 1.0]
    keep = KeepBest(patience=2)
    assert run(keep, [float("nan")] * 5) == (2, [])


def test_history_has_a_row_an_epoch() -> None:
    keep = KeepBest(patience=10)
    run(keep, [0.9, 0.5])
    assert keep.history == [
        {"epoch": 0.0, "validation_loss": pytest.approx(0.9), "train_total": 1.0},
        {"epoch": 1.0, "validation_loss": pytest.approx(0.5), "train_total": 1.0},
    ]


def test_the_best_weights_are_a_file(tmp_path: Path) -> None:
    run(KeepBest(patience=10, folder=tmp_path), [0.9, 0.3, 0.4])
    assert load_file(tmp_path / "best" / "weights.safetensors")["weight"].tolist() == [[1.0, 1.0]]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["best", "weights.safetensors"]


def test_the_weights_of_the_best_epochs_are_averaged() -> None:
    keep = KeepBest(patience=10, n_best=3)
    _, weights = run(keep, [0.9, 0.5, 0.3, 0.4, 0.35, 0.6])
    assert keep.best_epoch == 2
    assert weights == [3.0, 3.0]  # epochs 2, 3 and 4


def test_what_is_kept_comes_back_from_its_state() -> None:
    keep, again = KeepBest(patience=10, n_best=2), KeepBest(patience=10, n_best=2)
    run(keep, [0.9, 0.5, 0.7])
    again.load_state_dict(keep.state_dict())
    assert (again.best_epoch, again.best_loss, again.history) == (keep.best_epoch, keep.best_loss, keep.history)
    assert torch.equal(again.best_weights["weight"], keep.best_weights["weight"])


def test_each_step_of_each_epoch_draws_its_own_numbers_whatever_was_drawn_before() -> None:
    def draw(seed: int, epoch: int, batch: int) -> float:
        torch.rand(batch + 1)
        trainer: Any = SimpleNamespace(current_epoch=epoch)
        SeedSteps(seed).on_train_batch_start(trainer, None, None, batch)  # type: ignore[arg-type]
        return float(torch.rand(()))

    places = [(seed, epoch, batch) for seed in range(3) for epoch in range(3) for batch in range(3)]
    first = [draw(*place) for place in places]
    assert len(set(first)) == len(places)
    assert [draw(*place) for place in reversed(places)] == first[::-1]


def test_each_epoch_is_a_line_with_its_losses(caplog: pytest.LogCaptureFixture) -> None:
    show = ShowEpochs("image", every=2)
    trainer: Any = SimpleNamespace(max_epochs=5, current_epoch=0, callback_metrics={}, is_global_zero=True)
    module: Any = None
    with caplog.at_level(logging.INFO, logger="medfuse"):
        show.on_train_start(trainer, module)
        for epoch in range(5):
            trainer.current_epoch = epoch
            trainer.callback_metrics = {"train_total": torch.tensor(0.5), "validation_loss": torch.tensor(0.25)}
            show.on_train_epoch_end(trainer, module)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(",")[0] for line in lines] == [f"image: epoch {n} of 5" for n in (2, 4, 5)]
    assert all("train loss 0.500, validation loss 0.250" in line for line in lines)
    assert lines[-1].endswith("at most 0 s left")
