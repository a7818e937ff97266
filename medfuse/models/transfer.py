"""Weights that were learnt elsewhere: into an encoder, with a report of every name, and how far they may move."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from medfuse.errors import ConfigError

__all__ = ["KeyReport", "layers_of", "load_weights", "read_weights"]

SHOWN, SHOWN_LETTERS = 5, 60
UNREADABLE = (
    OSError, RuntimeError, EOFError, ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError,
    MemoryError, RecursionError, NotImplementedError, AssertionError,
)  # fmt: skip
"""What torch's own reader lets through for a file that is none of its."""


@dataclass(frozen=True, slots=True)
class KeyReport:
    """What became of every name when weights were loaded.

    Parameters
    ----------
    loaded : tuple of str
        Names that the encoder now has from the file.
    missing : tuple of str
        Names of the encoder that the file lacks; they stay as they were.
    unexpected : tuple of str
        Names of the file, behind its prefix, that the encoder lacks.
    misshapen : tuple of str
        Names of both, of other shapes; they stay as they were too.
    ignored : int
        Names of the file without the prefix.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]
    ignored: int = 0

    def __str__(self) -> str:
        """Return one line: the counts, and the first names of what was not loaded."""
        parts = [f"{len(self.loaded)} loaded"]
        for name in ("missing", "unexpected", "misshapen"):
            names: tuple[str, ...] = getattr(self, name)
            more = ", ..." if len(names) > SHOWN else ""
            parts.append(f"{len(names)} {name}" + (f" ({', '.join(names[:SHOWN])}{more})" if names else ""))
        return ", ".join(parts) + (f", {self.ignored} of other parts" if self.ignored else "")


def load_weights(module: nn.Module, path: Path, *, prefix: str = "", where: str = "weights") -> KeyReport:
    """Load weights and buffers by name into a module.

    Parameters
    ----------
    module : Module
        Changed in place: every tensor whose name and shape the file has.
    path : Path
        Of a .safetensors file, or a state dict saved by torch (read without running any code in it), which may lie
        under the key ``state_dict``.
    prefix : str
        What the file puts before the module's names: ``module.``, or ``encoders.image.`` of a saved model of medfuse.
    where : str
        The configuration's key, for error messages.

    Returns
    -------
    KeyReport

    Raises
    ------
    ConfigError
        If the file cannot be read, holds something else, or has no name and shape of the module.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     torch.save({"module.weight": torch.ones(1, 2), "module.scale": torch.ones(1)}, Path(folder) / "old.pt")
    ...     print(load_weights(nn.Linear(2, 1), Path(folder) / "old.pt", prefix="module."))
    1 loaded, 1 missing (bias), 1 unexpected (scale), 0 misshapen
    """
    content = read_weights(path, where=where)
    given = {name.removeprefix(prefix): tensor for name, tensor in content.items() if name.startswith(prefix)}
    own = module.state_dict()
    both = [name for name in own if name in given]
    loaded = [name for name in both if given[name].shape == own[name].shape]
    if not loaded:
        found = f"found {len(content)} names, none of which fits behind the prefix {prefix!r}"
        raise ConfigError(where, found, expected=f"names such as {next(iter(own), 'none')}, of the same shapes")
    report = KeyReport(
        tuple(loaded),
        missing=tuple(name for name in own if name not in given),
        unexpected=tuple(name for name in given if name not in own),
        misshapen=tuple(name for name in both if given[name].shape != own[name].shape),
        ignored=len(content) - len(given),
    )
    module.load_state_dict({name: given[name] for name in loaded}, strict=False)
    return report


def read_weights(path: Path, *, where: str = "weights") -> dict[str, Tensor]:
    """Read a file of tensors by name; no code in it is run.

    Parameters
    ----------
    path, where
        See `load_weights`.

    Returns
    -------
    dict of str to Tensor

    Raises
    ------
    ConfigError
        If it cannot be read, is damaged, holds something else, or a number that is not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            content: object = load_file(path)
        else:
            _check_sums(path, where)
            with warnings.catch_warnings():  # what torch says of a foreign pickle is said below
                warnings.simplefilter("ignore")
                content = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        found = f"{path.name} is corrupt: its header does not fit its bytes"
        raise ConfigError(where, found, expected="a .safetensors file") from error
    except pickle.UnpicklingError as error:
        found = f"{path.name} holds pickled objects, which could run code"
        raise ConfigError(where, found, expected="tensors alone: a .safetensors file or a torch state dict") from error
    except UNREADABLE as error:
        found = f"{path.name} cannot be read ({type(error).__name__})"
        raise ConfigError(where, found, expected="a .safetensors file or a torch state dict") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(t, Tensor) for t in content.values()):
        raise ConfigError(where, f"{path.name} holds no state dict", expected="tensors by name")
    for name, tensor in content.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            found = f"found NaN or a value that is not finite in {str(name)[:SHOWN_LETTERS]!r}"
            raise ConfigError(where, found, expected="finite numbers")
    return {str(name): tensor for name, tensor in content.items()}


def _check_sums(path: Path, where: str) -> None:
    """Refuse a zip, as torch saves one, of which a part is not what it was: torch itself does not look."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as file:
            if any(part.compress_type != zipfile.ZIP_STORED for part in file.infolist()):
                found = f"{path.name} holds compressed parts, which could expand without bound"
                raise ConfigError(where, found, expected="a file of torch, which compresses nothing")
            damaged = file.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ConfigError(where, f"{path.name} is corrupt", expected="a whole file") from error
    if damaged is not None:
        found = f"{path.name} is corrupt: a checksum (CRC) is not that of its bytes"
        raise ConfigError(where, found, expected="the file as it was saved")


def layers_of(encoder: nn.Module) -> list[list[nn.Parameter]]:
    """Return an encoder's parameters by layer, from the input on.

    Parameters
    ----------
    encoder : Module
        Its layers are named in their order: a layer is what shares its name up to the first number, with the norms
        that follow it.

    Examples
    --------
    >>> blocks = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> [[tuple(p.shape) for p in layer] for layer in layers_of(blocks)]
    [[(3, 2), (3,)], [(1, 3), (1,)]]
    """
    layers: dict[str, list[nn.Parameter]] = {}
    for name, parameter in encoder.named_parameters():
        parts = name.split(".")
        number = next((i for i, part in enumerate(parts) if part.isdigit()), 0)
        layers.setdefault(".".join(parts[: number + 1]), []).append(parameter)
    # What describes the last map comes after it, though every encoder is given it first.
    last = layers.pop("pooled_norm", [])
    joined: list[list[nn.Parameter]] = []
    for layer in (*layers.values(), last):
        if joined and all(parameter.ndim < 2 for parameter in layer):
            joined[-1] += layer
        else:
            joined.append(layer)
    return joined
