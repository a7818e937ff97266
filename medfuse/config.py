"""The configuration of a run: YAML -> dict -> strict models, every mistake named."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from medfuse.errors import ConfigError, nearest_name
from medfuse.image_config import CacheConfig, ChannelConfig, ImageConfig
from medfuse.transfer_config import EncoderTransfer, TransferConfig
from medfuse.types import Target

__all__ = [
    "AttributeConfig",
    "AugmentConfig",
    "BaselineConfig",
    "CacheConfig",
    "ChannelConfig",
    "ComputeConfig",
    "DataConfig",
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

MAX_CONFIG_BYTES = 1_000_000
Modality = Literal["image", "text", "table"]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextConfig(_Strict):
    """How a report becomes token ids.

    Parameters
    ----------
    sections : tuple of str
        Sections that the model may read; empty means the whole text.
    max_length : int
        Tokens kept.
    vocabulary_size : int
        Upper bound of the tokenizer trained on the training texts.
    flags : {"none", "chest14", "ctrate18"}
        Labels whose mentions and denials go to the model as numbers beside the encoded text.
    mask_terms : tuple of str
        Words that the label may have been made from: concepts of the lexicon, which stand for all their wordings,
        or plain words.
    mask : {"compare", "always"}
        What is done with them: the model reads them, and its predictions say too what it answers without them, or it
        never reads them.
    """

    sections: tuple[str, ...] = ("findings", "impression")
    max_length: Annotated[int, Field(ge=8, le=4096)] = 256
    vocabulary_size: Annotated[int, Field(ge=64)] = 2000
    flags: Literal["none", "chest14", "ctrate18"] = "none"
    mask_terms: tuple[str, ...] = ()
    mask: Literal["compare", "always"] = "compare"


class SeriesRule(_Strict):
    """Which series of a study the model sees, where several are volumes. Saved with the model.

    Parameters
    ----------
    modality : str
        DICOM Modality, for example "CT"; empty for any.
    thickness_mm : tuple of float, optional
        Least and greatest slice thickness.
    kernels : tuple of str
        Values of ConvolutionKernel, whatever their letter case; empty for any.
    prefer : {"refuse", "thinnest", "thickest", "most_slices"}
        Which one of several that fit; a tie is refused.
    time_point : {"refuse", "first", "middle", "last"}
        Which volume of a series with several time points.
    """

    modality: str = ""
    thickness_mm: tuple[float, float] | None = None
    kernels: tuple[str, ...] = ()
    prefer: Literal["refuse", "thinnest", "thickest", "most_slices"] = "refuse"
    time_point: Literal["refuse", "first", "middle", "last"] = "refuse"

    @field_validator("thickness_mm")
    @classmethod
    def _low_to_high(cls, thickness: tuple[float, float] | None) -> tuple[float, float] | None:
        if thickness is not None and not 0 <= thickness[0] <= thickness[1]:
            raise ValueError("the least thickness first, both 0 or more")
        return thickness


class TableConfig(_Strict):
    """Which free columns of the manifest are the clinical table.

    Parameters
    ----------
    numeric : tuple of str
        Columns of numbers, which are standardised by the training cases.
    categorical : tuple of str
        Columns of categories; one that no training case has counts as unknown.
    """

    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()


class DataConfig(_Strict):
    """Where the cases come from and how they are split.

    Parameters
    ----------
    manifest : str
        Path of manifest.csv, relative to the working folder.
    image, text, table
        Preparation of each modality.
    test_fold : int, optional
        Fold of the manifest that is kept for the test. None if the manifest has a ``split`` column.
    folds : int, optional
        Train so many times, each fold kept for the test once: the folds of the manifest, if it has so many, else
        folds of patients by hash. None trains once.
    validation_fraction : float
        Share of the other patients held out for every choice made in training.
    unlabelled : {"train", "leave_out"}
        Cases of which no target is known can still train: alignment, and the attributes that are known of them.
    unit : {"HU", "arbitrary"}
        Unit of the voxels of NIfTI images, which do not say it themselves.
    series : SeriesRule
        Which series of a study is its image, in scoring and explaining.
    cache : CacheConfig
        Where prepared images are kept.
    """

    manifest: str = "manifest.csv"
    image: ImageConfig = ImageConfig()
    text: TextConfig = TextConfig()
    table: TableConfig = TableConfig()
    test_fold: Annotated[int, Field(ge=0)] | None = 0
    folds: Annotated[int, Field(ge=2)] | None = None
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    unlabelled: Literal["train", "leave_out"] = "train"
    unit: Literal["HU", "arbitrary"] = "HU"
    series: SeriesRule = SeriesRule()
    cache: CacheConfig = CacheConfig()

    @model_validator(mode="after")
    def _windows_are_of_hu(self) -> DataConfig:
        if self.unit != "HU" and self.image.needs_hu:
            raise ValueError("unit: HU for an intensity that is a window of CT by name")
        return self


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


class AttributeConfig(_Strict):
    """A column that a model learns to predict beside its targets, so that its encoders learn what it describes.

    Source: Caruana 1997, Multitask Learning.

    Parameters
    ----------
    column : str
        Of the manifest.
    classes : tuple of str
        Values of the column; any other value counts as unknown.
    """

    column: str
    classes: Annotated[tuple[str, ...], Field(min_length=3)]

    def build(self) -> Target:
        """Return the column as a target whose name no real target has."""
        return Target(f"attribute {self.column}", "multiclass", self.classes)


class BaselineConfig(_Strict):
    """A trivial model that every result is shown beside: logistic regression on columns of the manifest.

    Parameters
    ----------
    name : str
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


class LossConfig(_Strict):
    """What a wrong answer on a target costs.

    Parameters
    ----------
    name : {"cross_entropy", "focal"}
    gamma : float
        Of the focal loss: how far cases that are answered well already are left alone; 0 is cross-entropy.
    class_weights : {"none", "balanced"}
        ``"balanced"`` gives each class the same total weight.
    logit_adjustment : float
        Times the logarithm of each class's share of the training cases, added to its logit in training alone.

    Notes
    -----
    Source: Lin et al. 2017, Focal Loss, equation 5 (alpha is ``class_weights``); Menon et al. 2021, Long-tail
    learning via logit adjustment, equation 10.
    """

    name: Literal["cross_entropy", "focal"] = "cross_entropy"
    gamma: Annotated[float, Field(ge=0)] = 2.0
    class_weights: Literal["none", "balanced"] = "none"
    logit_adjustment: Annotated[float, Field(ge=0)] = 0.0


class OptimConfig(_Strict):
    """How the model is trained.

    Parameters
    ----------
    epochs : int
        Upper bound, and what the schedule spans; early stopping may end sooner.
    batch_size : int
        Cases a step and process group: of all processes together.
    accumulate : int
        Batches whose gradients are summed before the optimiser steps.
    chunks : int
        Pieces that a batch is encoded in, each twice, to hold the activations of one piece at a time: for contrastive
        losses over more cases than fit into memory.
    schedule : {"one_cycle", "cosine", "constant"}
        Course of the learning rate.
    warmup : float
        Share of the steps in which the rate rises to ``learning_rate``.
    clip_norm : float
        Largest norm of the gradient; 0 leaves it as it is.
    patience : int
        Epochs without a better validation loss before stopping.
    weight_average : float
        Share of the old weights in the running mean that is validated and kept, a step; 0 keeps the newest.
    average_best : int
        Epochs of lowest validation loss whose weights are averaged into the model.
    aligner_weight : float
        Weight of the alignment loss beside the classification loss.
    auxiliary_weight : float
        Weight of each single-modality classification loss.
    attribute_weight : float
        Weight of the mean loss over the attributes, beside that of the targets.
    task_weighting : {"fixed", "uncertainty"}
        ``"uncertainty"`` learns a weight for each target and attribute beside those above.
    loss : LossConfig
        Of the targets.

    Notes
    -----
    Source: Kendall, Gal & Cipolla 2018, Multi-Task Learning Using Uncertainty to Weigh Losses, equation 10.
    """

    epochs: Annotated[int, Field(ge=1)] = 30
    batch_size: Annotated[int, Field(ge=2)] = 32
    accumulate: Annotated[int, Field(ge=1)] = 1
    chunks: Annotated[int, Field(ge=1)] = 1
    learning_rate: Positive = 2e-3
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.3
    clip_norm: Annotated[float, Field(ge=0)] = 1.0
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    weight_average: Annotated[float, Field(ge=0, lt=1)] = 0.97
    average_best: Annotated[int, Field(ge=1)] = 1
    patience: Annotated[int, Field(ge=1)] = 10
    aligner_weight: Annotated[float, Field(ge=0)] = 0.1
    auxiliary_weight: Annotated[float, Field(ge=0)] = 0.3
    attribute_weight: Annotated[float, Field(ge=0)] = 1.0
    task_weighting: Literal["fixed", "uncertainty"] = "fixed"
    loss: LossConfig = LossConfig()


class PretrainConfig(_Strict):
    """How the encoders learn, before any label is shown, to tell image and report from one latent vector.

    Parameters
    ----------
    epochs : int
        0 for none. Cases without a label count too, if ``data.unlabelled`` lets them train.
    learning_rate : float
    latent_size : int
        Of the vector that both come back from.
    variational : bool
        A product-of-experts VAE; else a plain autoencoder.
    decode_all : bool
        Let each modality alone tell the other too.
    noise : float
        Share of voxels set to 0 and of words hidden before encoding.
    image_weight, text_weight : float
        Of the squared error a voxel, and of the negative log-likelihood a word in nats.
    divergence_weight : float
        Of the latent distribution's divergence from a standard normal one, if variational.

    Notes
    -----
    See `medfuse.models.autoencoder.MultimodalAutoencoder`.
    """

    epochs: Annotated[int, Field(ge=0)] = 0
    learning_rate: Positive = 2e-3
    latent_size: Annotated[int, Field(ge=1)] = 64
    variational: bool = True
    decode_all: bool = True
    noise: Annotated[float, Field(ge=0, lt=1)] = 0.1
    image_weight: Annotated[float, Field(ge=0)] = 50.0
    text_weight: Annotated[float, Field(ge=0)] = 1.0
    divergence_weight: Annotated[float, Field(ge=0)] = 0.1


class AugmentConfig(_Strict):
    """Random changes of training cases; each is a function of the seed, the epoch and the case alone.

    Parameters
    ----------
    mirror : tuple of {"R", "A", "S"}
        Anatomical axes along which the box may be mirrored.
    turn : bool
        Turn a cubic box by right angles, which moves voxels without smoothing them.
    rotate_degrees, scale, translate : float
        Largest rotation about each axis in degrees, change of size as a share, and shift as a share of the box.
    brightness, contrast, noise : float
        Largest shift of the values, largest change of their spread as a share, and greatest standard deviation
        of noise; values run from 0 to 1.
    cutout : float
        Edge of a block that is set to 0, as a share of the box; 0 for none.
    token_dropout : float
        Chance that a word becomes unknown.
    shuffle_sentences : float
        Chance that a report's sentences change places within their section.
    drop_section : float
        Chance that a report of several sections loses one.
    synonyms : float
        Chance that a finding is worded otherwise, as the lexicon words it.
    hide_terms : float
        Chance that all mentions of ``data.text.mask_terms`` are hidden from a training case.
    """

    mirror: tuple[Literal["R", "A", "S"], ...] = ("R", "A", "S")
    turn: bool = True
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    translate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.0
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.0
    noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    cutout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    token_dropout: Share = 0.1
    shuffle_sentences: Share = 0.0
    drop_section: Share = 0.0
    synonyms: Share = 0.0
    hide_terms: Share = 0.0


class ComputeConfig(_Strict):
    """What the training runs on.

    Parameters
    ----------
    accelerator : {"auto", "cpu", "gpu"}
    devices : int
        Processes, one a device.
    strategy : {"auto", "ddp"}
        ``"ddp"`` for several processes; each gets an equal share of every batch.
    precision : {"float32", "bfloat16"}
        Of 3D convolutions and pretrained encoders in training; weights, and all answers, are float32.
    workers : int
        Processes that prepare samples beside the training; the results are the same for any number.
    threads : int
        Of torch; 0 leaves the choice to it. Results are equal to the bit only for equal numbers.
    deterministic : bool
        Refuse GPU operations whose results vary from run to run.
    """

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Annotated[int, Field(ge=1)] = 1
    strategy: Literal["auto", "ddp"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    workers: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=0)] = 0
    deterministic: bool = False


class TrackingConfig(_Strict):
    """Where MLflow keeps the run.

    Parameters
    ----------
    uri : str
        MLflow tracking URI; empty for a sqlite store beside the run's folder. Passwords go into the environment.
    experiment : str
    register_model : bool
        Enter the finished model into the registry, under the alias ``candidate``.
    registered_model : str
        Its name there; empty for the run's name.
    patience_s : float
        Seconds that the end of a run waits for a store that does not move.
    system_metrics_s : float
        Seconds between figures of load and memory; 0 logs none.
    """

    uri: str = ""
    experiment: str = "medfuse"
    register_model: bool = True
    registered_model: str = ""
    patience_s: Positive = 60.0
    system_metrics_s: Annotated[float, Field(ge=0)] = 10.0

    @model_validator(mode="after")
    def _no_password(self) -> TrackingConfig:
        # It would be written into every run's folder, and into the store for all to read.
        if "@" in self.uri.partition("://")[2].partition("/")[0]:
            raise ValueError("no user or password in tracking.uri: MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD")
        return self


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
    content = _read_yaml(source) if isinstance(source, Path) else source
    if not isinstance(content, Mapping):
        raise ConfigError(where, f"found a {type(content).__name__}", expected="a mapping of keys")
    merged = _copy(content)
    for override in overrides:
        _apply(merged, override)
    if isinstance(targets := merged.get("targets"), list | tuple):
        merged["targets"] = [label for target in targets for label in _labels_of(target, where)]
    try:
        # As JSON, strict checking still takes a list for a tuple, but no text for a number.
        return RunConfig.model_validate_json(json.dumps(merged, default=str), strict=True)
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


def _read_yaml(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(path.name, "found a file above 1 MB", expected="a configuration")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path.name, f"cannot be read ({type(error).__name__})", expected="a YAML file") from error
    try:
        # Aliases let a small file grow without bound; a configuration needs none.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise ConfigError(path.name, "found a YAML alias", expected="each value written out")
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(path.name + line, "found invalid YAML", expected="keys and values") from error


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
    try:
        content[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key}", "found invalid YAML as its value", expected="a.b=value") from error


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
