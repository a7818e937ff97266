"""The whole state of a training in one safetensors file, so that it goes on as if it had never stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from medfuse.errors import TrainingError
from medfuse.whole_files import write_whole

__all__ = ["SafetensorsIO", "SaveLast", "pack", "unpack"]

STATE = "state"
PLAIN = (str, int, float, bool, type(None))


class SafetensorsIO(CheckpointIO):
    """Write what lightning checkpoints as tensors and JSON: nothing is pickled, and a half-written file never stands.

    The file takes its name only once it is whole and on the disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint in place of the one before.

        Raises
        ------
        TrainingError
            If it cannot be written, as on a full disk; the one before stands.
        """
        tensors: dict[str, Tensor] = {}
        tree = pack(checkpoint, tensors)
        data = save(tensors, metadata={STATE: json.dumps(tree)})
        try:
            write_whole(Path(path), data, durable=True)
        except OSError as error:
            where, found = f"checkpoint {Path(path).parent.name}", f"cannot be written ({error.strerror})"
            expected = f"room for {len(data) // 2**20 + 1} MB on a disk of yours; then --resume goes on"
            raise TrainingError(where, found, expected=expected) from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint.

        Raises
        ------
        TrainingError
            If it is none of ours, or damaged.
        """
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
                tree = json.loads(file.metadata()[STATE])
            checkpoint = unpack(tree, tensors)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
            where, found = f"checkpoint {Path(path).parent.name}", f"cannot be read ({type(error).__name__})"
            raise TrainingError(where, found, expected="a checkpoint of this training; train anew") from error
        if not isinstance(checkpoint, dict):
            raise TrainingError("checkpoint", "found no training state", expected="a checkpoint of this training")
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


def pack(value: object, tensors: dict[str, Tensor]) -> Any:
    """Return a nested state as JSON values; its tensors go to ``tensors`` and leave their names behind.

    Raises
    ------
    TrainingError
        If it holds anything but tensors, containers and plain values.

    Examples
    --------
    >>> import torch
    >>> tensors = {}
    >>> tree = pack({"step": 3, 0: (torch.ones(1), 0.5)}, tensors)
    >>> unpack(json.loads(json.dumps(tree)), tensors)
    {'step': 3, 0: (tensor([1.]), 0.5)}
    """
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[pack(key, tensors), pack(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [pack(item, tensors) for item in value]}
    if isinstance(value, PLAIN):
        return value
    raise TrainingError("checkpoint", f"found a {type(value).__name__}", expected="tensors and plain values")


def unpack(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Rebuild what `pack` took apart."""
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {unpack(key, tensors): unpack(item, tensors) for key, item in content}
    items = [unpack(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items


class SaveLast(lightning.Callback):
    """Save the state at the end of every epoch; it must be the last of the callbacks.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save; every process takes part, the first one writes."""
        trainer.save_checkpoint(self.path)
