"""The loop over epochs: lightning's, set up so that it is exact, quiet and goes on where it stopped."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import lightning
from lightning.pytorch.strategies import DDPStrategy

from medfuse.config import ComputeConfig, RunConfig
from medfuse.errors import TrainingError
from medfuse.memory import is_out_of_memory
from medfuse.training.callbacks import SeedSteps, TimeUpError
from medfuse.training.case_data import CaseData
from medfuse.training.checkpoints import SafetensorsIO, SaveLast
from medfuse.training.module import ClassifierModule

__all__ = ["make_trainer", "quiet_lightning", "run_epochs"]


def run_epochs(
    module: ClassifierModule,
    data: CaseData,
    *,
    callbacks: Sequence[lightning.Callback],
    state: Path | None = None,
    resume: bool = False,
) -> None:
    """Run the epochs that are left.

    Parameters
    ----------
    module : ClassifierModule
    data : CaseData
    callbacks : sequence of lightning.Callback
    state : Path, optional
        File of the whole state, written once an epoch.
    resume : bool
        Go on from that file, if it is there.

    Raises
    ------
    TrainingError
        If the state cannot be read, or the time was up before the first epoch was finished.
    """
    config = data.config
    saved = state if state is not None and resume and state.exists() else None
    last = [SaveLast(state)] if state is not None else []
    with quiet_lightning():
        trainer = make_trainer(
            config.compute,
            epochs=config.optim.epochs,
            accumulate=config.optim.accumulate,
            callbacks=[SeedSteps(config.seed), *callbacks, *last],
        )
        try:
            trainer.fit(module, datamodule=data, ckpt_path=saved)
        except TimeUpError as error:
            if saved is None and not trainer.current_epoch:
                raise TrainingError(
                    "training", "no epoch was finished before the time was up", expected="more time"
                ) from error
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise _too_little_memory(config, trainer.current_epoch) from error


def _too_little_memory(config: RunConfig, epoch: int) -> TrainingError:
    """Name the settings that need less, the first of which changes no result."""
    optim, smaller = config.optim, max(1, config.optim.batch_size // 2)
    advice = [f"optim.chunks={2 * optim.chunks} (the same steps in parts)"]
    if smaller < optim.batch_size:
        advice.append(f"optim.batch_size={smaller} with optim.accumulate={2 * optim.accumulate}")
    advice.append("a smaller data.image.size, or compute.precision=bfloat16")
    found = f"memory does not suffice for a batch of {optim.batch_size}"
    return TrainingError(f"epoch {epoch}", found, expected=", or ".join(advice))


def make_trainer(
    compute: ComputeConfig, *, epochs: int, accumulate: int = 1, callbacks: Sequence[lightning.Callback] = ()
) -> lightning.Trainer:
    """Return lightning's trainer for a machine."""
    return lightning.Trainer(
        max_epochs=epochs,
        accelerator=compute.accelerator,
        devices=compute.devices,
        # Every process holds the same running statistics: they come from the whole batch.
        strategy=DDPStrategy(forward_sync_buffers=False) if compute.strategy == "ddp" else "auto",
        deterministic=compute.deterministic,
        accumulate_grad_batches=accumulate,
        use_distributed_sampler=False,  # our batches are shared out already
        plugins=[SafetensorsIO()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
    )


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Leave out what lightning says of the machine at every start, and its advice on workers."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        for message in (
            ".*does not have many workers.*",
            ".*number of training batches.*",
            ".*lr_scheduler.step.*",
            # Every process computes the loss of the whole batch.
            ".*It is recommended to use `self.log.*sync_dist=True.*",
            # A frozen encoder stays in eval mode on purpose.
            r".*module\(s\) in eval mode at the start of training.*",
        ):
            warnings.filterwarnings("ignore", message=message)
        # Lightning 2.6 asks torch 2.13 for a leaf in a way that torch is about to retire.
        warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*", category=FutureWarning)
        yield
