"""Weights that were learnt elsewhere: into an encoder, with a report of every name, and how far they may move."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from medfuse.errors import ConfigError

__all__ = ["KeyReport", "layers_of", "load_weights"]

SHOWN = 5


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
    content = _read(path, where)
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
    for name in loaded:
        if own[name].is_floating_point() and not torch.isfinite(given[name]).all():
            raise ConfigError(where, f"found a value that is not finite in {name}", expected="numbers")
    module.load_state_dict({name: given[name] for name in loaded}, strict=False)
    return report


def _read(path: Path, where: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        found = f"{path.name} cannot be read ({type(error).__name__})"
        raise ConfigError(where, found, expected="a .safetensors file or a torch state dict") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(t, Tensor) for t in content.values()):
        raise ConfigError(where, f"{path.name} holds no state dict", expected="tensors by name")
    return {str(name): tensor for name, tensor in content.items()}


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
