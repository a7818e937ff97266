"""The configuration of a run: YAML -> dict -> strict models, every mistake named."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from medfuse.data_config import DataConfig, SeriesRule, TableConfig, TextConfig
from medfuse.errors import ConfigError, nearest_name
from medfuse.image_config import CacheConfig, ChannelConfig, ImageConfig
from medfuse.training_config import (
    AugmentConfig,
    ComputeConfig,
    LossConfig,
    OptimConfig,
    PretrainConfig,
    TrackingConfig,
)
from medfuse.transfer_config import DistilConfig, EncoderTransfer, TransferConfig
from medfuse.types import Target
from medfuse.yaml_files import parse_yaml, read_yaml

__all__ = [
    "AttributeConfig",
    "AugmentConfig",
    "BaselineConfig",
    "CacheConfig",
    "ChannelConfig",
    "ComputeConfig",
    "DataConfig",
    "DistilConfig",
    "EncoderTransfer",
    "ImageConfig",
    "LossConfig",
    "ModelConfig",
    "OptimConfig",
    "PretrainConfig",
    "RunConfig",
    "SeriesRule",
    "TableConfig",
    "TargetConfig",
    "TextConfig",
    "TrackingConfig",
    "TransferConfig",
    "flatten",
    "load_config",
]

Modality = Literal["image", "text", "table"]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TargetConfig(_Strict):
    """What is predicted; see `medfuse.types.Target`.

    Parameters
    ----------
    name, kind, classes
        As there. A target of kind ``multilabel`` stands for a binary one a class, ``<name>_<class>``, with the classes
        0 and 1, each with a column of its own; so `load_config` writes it out.
    labels_from : {"elsewhere", "report"}
        ``"report"`` if the labels were read from the very reports that the model reads; every evaluation report then
        says so.
    """

    name: str
    kind: Literal["binary", "multiclass", "ordinal"] = "binary"
    classes: tuple[str, ...]
    labels_from: Literal["elsewhere", "report"] = "elsewhere"

    def build(self) -> Target:
        """Return the checked target."""
        return Target(self.name, self.kind, self.classes)


_ATTRIBUTE = "attribute "


class AttributeConfig(_Strict):
    """A column that a model learns to predict beside its targets, so that its encoders learn what it describes.

    Source: Caruana 1997, Multitask Learning.

    Parameters
    ----------
    column : str
        Of the manifest.
    kind : {"multiclass", "ordinal"}
        ``"ordinal"`` if the classes rise, such as scores.
    classes : tuple of str
        Values of the column; any other value counts as unknown.
    """

    column: str
    kind: Literal["multiclass", "ordinal"] = "multiclass"
    classes: Annotated[tuple[str, ...], Field(min_length=3)]

    def build(self) -> Target:
        """Return the column as a target whose name no real target has."""
        return Target(f"{_ATTRIBUTE}{self.column}", self.kind, self.classes)

    @classmethod
    def of(cls, target: Target) -> Self:
        """Return what `build` made a target of."""
        return cls.model_validate(
            {"column": target.name.removeprefix(_ATTRIBUTE), "kind": target.kind, "classes": target.classes}
        )


class BaselineConfig(_Strict):
    """A trivial model that every result is shown beside: logistic regression on columns of the manifest.

    Parameters
    ----------
    name : str
        Its condition is ``baseline_<name>``.
    numeric : tuple of str
        Columns of numbers.
    categorical : tuple of str
        Columns of categories, one-hot encoded.
    """

    name: str
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()


class ModelConfig(_Strict):
    """The model, component by component; options are checked against each component's constructor.

    Parameters
    ----------
    modalities : tuple of str
        Any of ``image``, ``text`` and ``table``, each once.
    embedding_size : int
        E, the size of the shared space.
    image_encoder, text_encoder, table_encoder, aligner, fusion, head : mapping
        ``name`` and the component's options.
    modality_dropout : float
        Chance that a training case with several modalities loses one of them.
    members : int
        Models trained from different seeds whose mean answers.
    """

    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)] = ("image", "text")
    embedding_size: Annotated[int, Field(ge=2)] = 64
    image_encoder: dict[str, Any] = {"name": "small_cnn"}
    text_encoder: dict[str, Any] = {"name": "gru"}
    table_encoder: dict[str, Any] = {"name": "mlp"}
    aligner: dict[str, Any] = {"name": "infonce"}
    fusion: dict[str, Any] = {"name": "concatenation"}
    head: dict[str, Any] = {"name": "mlp"}
    modality_dropout: Share = 0.2
    members: Annotated[int, Field(ge=1, le=50)] = 1

    @field_validator("modalities")
    @classmethod
    def _each_once(cls, modalities: tuple[Modality, ...]) -> tuple[Modality, ...]:
        if len(set(modalities)) < len(modalities):
            raise ValueError("each modality once")
        return modalities


class RunConfig(_Strict):
    """One run, complete."""

    name: str = "run"
    seed: Annotated[int, Field(ge=0)] = 0
    data: DataConfig = DataConfig()
    targets: Annotated[tuple[TargetConfig, ...], Field(min_length=1)]
    attributes: tuple[AttributeConfig, ...] = ()
    baselines: tuple[BaselineConfig, ...] = ()
    model: ModelConfig = ModelConfig()
    transfer: TransferConfig = TransferConfig()
    distil: DistilConfig = DistilConfig()
    pretrain: PretrainConfig = PretrainConfig()
    optim: OptimConfig = OptimConfig()
    augment: AugmentConfig = AugmentConfig()
    compute: ComputeConfig = ComputeConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _table_has_columns(self) -> RunConfig:
        if "table" in self.model.modalities and not (self.data.table.numeric or self.data.table.categorical):
            raise ValueError("columns in data.table for the modality table")
        return self

    @field_validator("targets")
    @classmethod
    def _names_once(cls, targets: tuple[TargetConfig, ...]) -> tuple[TargetConfig, ...]:
        if len({target.name for target in targets}) < len(targets):
            raise ValueError("each target's name once")
        return targets


def _labels_of(target: object, where: str) -> list[object]:
    """Write a multilabel target out as binary ones; any other is given back."""
    if not isinstance(target, Mapping) or target.get("kind") != "multilabel":
        return [target]
    classes = target.get("classes")
    if not isinstance(classes, list | tuple) or not classes:
        raise ConfigError(f"{where}: targets", "found a multilabel target without classes", expected="one a label")
    return [
        {**target, "name": f"{target.get('name')}_{label}", "kind": "binary", "classes": ["0", "1"]}
        for label in classes
    ]


def load_config(source: Path | Mapping[str, Any], *, overrides: Sequence[str] = ()) -> RunConfig:
    """Read, override and check a configuration.

    Parameters
    ----------
    source : Path or mapping
        A YAML file, or what one holds.
    overrides : sequence of str
        ``a.b=value`` pairs; the value is read as YAML.

    Returns
    -------
    RunConfig
        With every default written out.

    Raises
    ------
    ConfigError
        Naming the key, what was found there, and the nearest right key.

    Examples
    --------
    >>> config = {"targets": [{"name": "malignancy", "classes": ["negative", "positive"]}]}
    >>> load_config(config, overrides=["optim.epochs=3"]).optim.epochs
    3
    """
    where = source.name if isinstance(source, Path) else "configuration"
    content = read_yaml(source) if isinstance(source, Path) else source
    if not isinstance(content, Mapping):
        raise ConfigError(where, f"found a {type(content).__name__}", expected="a mapping of keys")
    merged = _copy(content)
    for override in overrides:
        _apply(merged, override)
    if isinstance(targets := merged.get("targets"), list | tuple):
        merged["targets"] = [label for target in targets for label in _labels_of(target, where)]
    try:
        # As JSON, strict checking still takes a list for a tuple, but no text for a number.
        written = json.dumps(merged, default=str)
    except (TypeError, ValueError) as error:  # a key that is a date or a list
        raise ConfigError(where, "found a key that is no name", expected="keys and values") from error
    try:
        return RunConfig.model_validate_json(written, strict=True)
    except ValidationError as error:
        raise _explain(error, where) from error


def flatten(content: Mapping[str, Any], *, prefix: str = "") -> dict[str, str]:
    """Write nested keys as dotted ones.

    Parameters
    ----------
    content : mapping
    prefix : str
        Put before each key.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> flatten({"optim": {"epochs": 3}, "seed": 0})
    {'optim.epochs': '3', 'seed': '0'}
    """
    flat: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, prefix=f"{prefix}{key}.")
        else:
            flat[prefix + key] = str(value)
    return flat


def _copy(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in content.items()}


def _apply(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}", "found no '='", expected="a.b=value")
    *parents, last = key.split(".")
    for parent in parents:
        inner = content.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {key}", f"{parent!r} holds a value, not keys", expected="a.b=value")
        content = inner
    content[last] = parse_yaml(text, where=f"--set {key}")


def _explain(error: ValidationError, where: str) -> ConfigError:
    # A mistyped key also makes its right name "missing": the mistyped one is what helps.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"]]
    at = f"{where}: {'.'.join(location)}"
    if first["type"] == "extra_forbidden":
        return ConfigError(at, "no such key", expected=nearest_name(location[-1], _keys_beside(location)))
    value = first.get("input")
    found = f"found {value!r}" if isinstance(value, str | int | float | bool) else f"found a {type(value).__name__}"
    hint = " (YAML reads 1e-3 as text; write 0.001 or 1.0e-3)" if isinstance(value, str) and _is_number(value) else ""
    return ConfigError(at, found + hint, expected=first["msg"].lower().removeprefix("input should be "))


def _keys_beside(location: Sequence[str]) -> list[str]:
    model: type[BaseModel] = RunConfig
    for part in location[:-1]:
        field = model.model_fields.get(part)
        annotation: object = _IN_LISTS.get(part) or (field and field.annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return list(model.model_fields)


_IN_LISTS: dict[str, type[BaseModel]] = {
    "attributes": AttributeConfig,
    "baselines": BaselineConfig,
    "channels": ChannelConfig,
    "targets": TargetConfig,
}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
