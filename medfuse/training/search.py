"""The search space of `medfuse tune`: which keys of a configuration vary, and how far."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medfuse.config import RunConfig, flatten, load_config
from medfuse.errors import ConfigError, nearest_name
from medfuse.models import build_model
from medfuse.tensors import TableShape
from medfuse.yaml_files import read_yaml

if TYPE_CHECKING:
    from optuna.trial import Trial

__all__ = [
    "Choice",
    "Dimension",
    "Range",
    "Space",
    "apply",
    "check_space",
    "default_space",
    "describe_space",
    "read_space",
    "suggest",
]

Value: TypeAlias = bool | int | float | str
TUNED = ("augment.", "data.text.", "model.", "optim.")
"""Keys that may vary. Others would change the cases, the split or the seed, so that trials could not be compared."""
_WORDS_FOR_CHECKS = 100


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Range(_Strict):
    """Numbers from ``low`` to ``high``, both included; whole numbers if both are.

    Parameters
    ----------
    low, high : int or float
    log : bool
        Try each order of magnitude equally often.
    """

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _low_before_high(self) -> Range:
        if not self.low < self.high:
            raise ValueError("low below high")
        if self.log and self.low <= 0:
            raise ValueError("low above 0 where log is true")
        return self

    @property
    def ends(self) -> tuple[Value, ...]:
        """Lowest and highest value."""
        return self.low, self.high

    def draw(self, trial: Trial, key: str) -> Value:
        """Let a trial choose."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(key, self.low, self.high, log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)


class Choice(_Strict):
    """One of a few values.

    Parameters
    ----------
    choice : tuple of bool, int, float or str
    """

    choice: tuple[Value, ...] = Field(min_length=2, strict=False)

    @property
    def ends(self) -> tuple[Value, ...]:
        """All of them."""
        return self.choice

    def draw(self, trial: Trial, key: str) -> Value:
        """Let a trial choose."""
        return cast(Value, trial.suggest_categorical(key, self.choice))


Dimension: TypeAlias = Range | Choice
Space: TypeAlias = Mapping[str, Dimension]


def default_space(config: RunConfig) -> dict[str, Dimension]:
    """Return the space that is searched if none is given: learning rate, weight decay, weights of the losses.

    Parameters
    ----------
    config : RunConfig
        Its learning rate is the middle of the range.

    Examples
    --------
    >>> config = load_config({"targets": [{"name": "malignancy", "classes": ["no", "yes"]}]})
    >>> default_space(config)["optim.learning_rate"]
    Range(low=0.0002, high=0.02, log=True)
    """
    rate = config.optim.learning_rate
    space: dict[str, Dimension] = {
        "optim.learning_rate": Range(low=round(rate / 10, 12), high=round(rate * 10, 12), log=True),
        "optim.weight_decay": Range(low=0.0001, high=0.1, log=True),
    }
    if len(config.model.modalities) > 1:
        space |= {
            "optim.aligner_weight": Range(low=0.01, high=1.0, log=True),
            "optim.auxiliary_weight": Range(low=0.0, high=1.0),
            "model.modality_dropout": Range(low=0.0, high=0.5),
        }
    return space


def read_space(path: Path) -> dict[str, Dimension]:
    """Read a search space.

    Parameters
    ----------
    path : Path
        YAML: ``search:`` and below it dotted keys of the configuration, each with ``{low, high, log}`` or
        ``{choice: [...]}``.

    Returns
    -------
    dict of str to Dimension

    Raises
    ------
    ConfigError
        Naming the key.
    """
    content = read_yaml(path)
    if not isinstance(content, Mapping) or set(content) != {"search"} or not isinstance(content["search"], Mapping):
        raise ConfigError(path.name, "found other keys", expected="search: and below it the keys that vary")
    if not content["search"]:
        raise ConfigError(f"{path.name}: search", "found no key", expected="at least one")
    return {str(key): _dimension(f"{path.name}: {key}", value) for key, value in content["search"].items()}


def _dimension(where: str, content: object) -> Dimension:
    if not isinstance(content, Mapping):
        raise ConfigError(where, f"found a {type(content).__name__}", expected="{low, high, log} or {choice: [...]}")
    kind: type[Range] | type[Choice] = Choice if "choice" in content else Range
    try:
        return kind.model_validate(dict(content))
    except ValidationError as error:
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        key = str(first["loc"][0]) if first["loc"] else "it"
        if first["type"] == "extra_forbidden":
            raise ConfigError(where, f"no such key {key!r}", expected=nearest_name(key, kind.model_fields)) from error
        hint = " (YAML reads 1e-3 as text; write 0.001)" if isinstance(first["input"], str) else ""
        raise ConfigError(f"{where}.{key}", f"found a wrong value{hint}", expected=first["msg"].lower()) from error


def check_space(config: RunConfig, space: Space) -> None:
    """Refuse a space with a key that does not exist or a value that no training takes.

    Parameters
    ----------
    config : RunConfig
    space : mapping of str to Dimension

    Raises
    ------
    ConfigError
        Naming the key and the nearest right one.
    """
    known = sorted(key for key in flatten(config.model_dump(mode="json")) if key.startswith(TUNED))
    for key, dimension in space.items():
        if not key.startswith(TUNED):
            expected = f"a key under {', '.join(TUNED)}: {nearest_name(key, known)}"
            raise ConfigError(f"search {key}", "found a key that cannot be searched", expected=expected)
        for value in dimension.ends:
            _try(apply(config, {key: value}))
    for corner in (0, -1):
        _try(apply(config, {key: dimension.ends[corner] for key, dimension in space.items()}))


def _try(config: RunConfig) -> None:
    """Build the model, which checks the options of its components."""
    build_model(
        config.model,
        targets=[*(target.build() for target in config.targets), *(item.build() for item in config.attributes)],
        in_channels=1,
        image_size=config.data.image.size,
        vocabulary_size=_WORDS_FOR_CHECKS,
        table_shape=TableShape(len(config.data.table.numeric), (2,) * len(config.data.table.categorical)),
    )


def apply(config: RunConfig, values: Mapping[str, Value]) -> RunConfig:
    """Return a configuration with some keys changed.

    Parameters
    ----------
    config : RunConfig
    values : mapping of str to value
        By dotted key.

    Raises
    ------
    ConfigError
        If there is no such key or it does not take the value.

    Examples
    --------
    >>> config = load_config({"targets": [{"name": "malignancy", "classes": ["no", "yes"]}]})
    >>> apply(config, {"optim.epochs": 3}).optim.epochs
    3
    """
    return load_config(config.model_dump(mode="json"), overrides=[f"{k}={_as_yaml(v)}" for k, v in values.items()])


def _as_yaml(value: Value) -> str:
    # As JSON, which is YAML too, but for floats: YAML reads 1e-05 as text and 1.0e-05 as a number.
    if isinstance(value, float):
        digits = f"{value!r}"
        return digits if "e" not in digits or "." in digits else digits.replace("e", ".0e")
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()


def suggest(trial: Trial, space: Space) -> dict[str, Value]:
    """Let a trial choose a value for every key."""
    return {key: dimension.draw(trial, key) for key, dimension in space.items()}


def describe_space(space: Space) -> dict[str, dict[str, Any]]:
    """Return a space as `read_space` would read it."""
    return {key: dimension.model_dump(mode="json") for key, dimension in space.items()}
