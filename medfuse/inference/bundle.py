"""A saved model: weights, model.json, tokenizer and their checksums. Nothing in it is executed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from medfuse.config import AttributeConfig, ModelConfig, SeriesRule, TargetConfig
from medfuse.data import Preprocessing
from medfuse.errors import BundleError, ConfigError, UsageError
from medfuse.inference.calibration import Calibration, conditions_of
from medfuse.inference.evidence import ARRAYS, WORDS, Evidence, pack_evidence, unpack_evidence
from medfuse.models import Ensemble, StudyClassifier, build_model, self_contained
from medfuse.models.transfer import read_weights
from medfuse.tensors import NO_TABLE
from medfuse.text import tokenizer_from_json
from medfuse.types import Target
from medfuse.whole_files import write_whole

__all__ = ["Bundle", "build_for", "build_member_for", "load_bundle", "save_bundle"]

FORMAT = 2
LACKS = {1: "made before models kept intervals, prediction sets, an out-of-distribution limit and training cases"}
"""What models of an older format lack."""
CHECKSUMS, LABELS = "sha256", "labels"
WEIGHTS, MODEL, TOKENIZER = "weights.safetensors", "model.json", "tokenizer.json"
REQUIRED = {WEIGHTS, MODEL, ARRAYS, WORDS}
FOREIGN = {".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle", ".safetensors", ".joblib"}
"""Weights as other programs save them."""


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """Everything that turns a study into predictions.

    Parameters
    ----------
    model : StudyClassifier or Ensemble
    config : ModelConfig
    preprocessing : Preprocessing
    targets : tuple of Target
    calibration : mapping of str to mapping of str to Calibration
        By target, then by condition.
    prevalence : mapping of str to float
        Share of positive training cases by target: the answer before anything is seen.
    provenance : mapping of str to str
        Config and data digests, versions; shown on every report.
    model_id : str
        Set by loading; names the model in every prediction.
    series : SeriesRule
        Which series of a study the model sees, where several are volumes.
    evidence : Evidence
        What it knows of its training and validation cases; by default nothing.
    attributes : tuple of Target
        What its heads read beside the targets, as it learnt to; see `medfuse.config.AttributeConfig`.
    """

    model: StudyClassifier | Ensemble
    config: ModelConfig
    preprocessing: Preprocessing
    targets: tuple[Target, ...]
    calibration: Mapping[str, Mapping[str, Calibration]]
    prevalence: Mapping[str, float]
    provenance: Mapping[str, str] = field(default_factory=dict)
    model_id: str = ""
    series: SeriesRule = field(default_factory=SeriesRule)
    evidence: Evidence = field(default_factory=Evidence)
    attributes: tuple[Target, ...] = ()


def save_bundle(bundle: Bundle, folder: Path) -> str:
    """Write a bundle.

    Parameters
    ----------
    bundle : Bundle
    folder : Path
        Made if absent; files of an older bundle in it are replaced.

    Returns
    -------
    str
        The model id: the start of the checksum of its checksums.
    """
    from safetensors.torch import save

    weights = {name: tensor.contiguous() for name, tensor in bundle.model.state_dict().items()}
    content = {
        "format": FORMAT,
        "model": self_contained(bundle.config, bundle.model).model_dump(mode="json"),
        "preprocessing": bundle.preprocessing.to_dict(),
        "preprocessing_digest": bundle.preprocessing.digest,
        "series": bundle.series.model_dump(mode="json"),
        "targets": [{"name": t.name, "kind": t.kind, "classes": list(t.classes)} for t in bundle.targets],
        "attributes": [AttributeConfig.of(t).model_dump(mode="json") for t in bundle.attributes],
        "calibration": {
            target: {condition: c.to_dict() for condition, c in by_condition.items()}
            for target, by_condition in bundle.calibration.items()
        },
        "prevalence": dict(bundle.prevalence),
        "provenance": dict(bundle.provenance),
    }
    named = {LABELS: _labels_digest((*bundle.targets, *bundle.attributes))}
    files = {WEIGHTS: save(weights, metadata=named), MODEL: json.dumps(content, indent=1, sort_keys=True).encode()}
    files |= pack_evidence(bundle.evidence)
    if bundle.preprocessing.tokenizer is not None:
        files[TOKENIZER] = bundle.preprocessing.tokenizer.to_json().encode()
    sums = _checksums(files)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in {**files, CHECKSUMS: sums.encode()}.items():
        write_whole(folder / name, data)
    if TOKENIZER not in files:
        (folder / TOKENIZER).unlink(missing_ok=True)
    return _model_id(sums)


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle, checking every byte before it is used.

    Parameters
    ----------
    folder : Path
        As `save_bundle` left it.

    Returns
    -------
    Bundle
        Its model is in eval mode on the CPU.

    Raises
    ------
    BundleError
        If a file is missing or changed, the weights do not fit the model or are not finite, or the
        preprocessing or the labels are not those that the model was trained with.
    """
    files, sums = _read_checked(folder)
    where = f"model {folder.name}"
    try:
        content = json.loads(files[MODEL])
        _check_format(content["format"], where)
        config = ModelConfig.model_validate(content["model"])
        targets = tuple(TargetConfig.model_validate(item).build() for item in content["targets"])
        attributes = tuple(AttributeConfig.model_validate(item).build() for item in content.get("attributes", ()))
        calibration = {
            target: {condition: Calibration.from_dict(c) for condition, c in by_condition.items()}
            for target, by_condition in content["calibration"].items()
        }
        prevalence = {target.name: float(content["prevalence"][target.name]) for target in targets}
        provenance = {str(key): str(value) for key, value in content["provenance"].items()}
        digest = content["preprocessing_digest"]
        preparation = content["preprocessing"]
        series = SeriesRule.model_validate(content["series"])
        _check_complete(config, targets, calibration, prevalence)
        tokenizer = tokenizer_from_json(files[TOKENIZER].decode()) if TOKENIZER in files else None
    except BundleError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, UsageError) as error:
        raise BundleError(f"{where}/{MODEL}", "found a missing or wrong value") from error
    preprocessing = Preprocessing.from_dict(preparation, tokenizer=tokenizer)
    if preprocessing.digest != digest:
        raise BundleError(where, "its preprocessing differs from that of its training", expected="equal digests")
    if preprocessing.modalities != config.modalities:
        found = "its preprocessing has other modalities than its model"
        raise BundleError(where, found, expected=str(list(config.modalities)))
    evidence = unpack_evidence(files, targets, where)
    model = _build(config, (*targets, *attributes), preprocessing, where)
    _check_labels(files[WEIGHTS], (*targets, *attributes), where)
    _load_weights(model, files[WEIGHTS], where)
    return Bundle(
        model.eval(),
        config,
        preprocessing,
        targets,
        calibration,
        prevalence,
        provenance,
        _model_id(sums),
        series=series,
        evidence=evidence,
        attributes=attributes,
    )


def _check_format(found: object, where: str) -> None:
    if found != FORMAT:
        number = found if isinstance(found, int) else 0
        why = LACKS.get(number, "made by a newer medfuse" if number > FORMAT else "")
        advice = ", or that version" if number > FORMAT else ": train the model again" if why else ""
        expected = f"format {FORMAT}{advice}"
        raise BundleError(where, f"found format {found!r}{f', {why}' if why else ''}", expected=expected)


def _read_checked(folder: Path) -> tuple[dict[str, bytes], str]:
    where = f"model {folder.name}"
    try:
        sums = (folder / CHECKSUMS).read_bytes().decode("ascii")
        expected = {name: digest for digest, name in (line.split("  ") for line in sums.splitlines())}
        if not {WEIGHTS, MODEL} <= set(expected) <= {*REQUIRED, TOKENIZER}:
            found, all_files = f"found other files in {CHECKSUMS}", sorted({*REQUIRED, TOKENIZER})
            raise BundleError(where, found, expected=", ".join(all_files))
        files = {name: (folder / name).read_bytes() for name in expected}
    except (OSError, ValueError) as error:
        _explain_foreign(folder, where)
        found = f"cannot be read ({type(error).__name__})"
        raise BundleError(where, found, expected=f"a folder with {WEIGHTS}, {MODEL}, {CHECKSUMS}") from error
    for name, data in files.items():
        if hashlib.sha256(data).hexdigest() != expected[name]:
            raise BundleError(f"{where}/{name}", "its bytes were changed", expected="the checksum of its training")
    if sums != _checksums(files):
        raise BundleError(f"{where}/{CHECKSUMS}", "its bytes were changed", expected="sha256, two spaces, name")
    return files, sums


def _explain_foreign(folder: Path, where: str) -> None:
    """Say what is wrong with weights of another program, or that weights alone are no model."""
    inside = [path for path in sorted(folder.iterdir()) if path.suffix in FOREIGN] if folder.is_dir() else [folder]
    is_ours = (folder / MODEL).exists() or (folder / CHECKSUMS).exists()
    if is_ours or not inside or inside[0].suffix not in FOREIGN or not inside[0].is_file():
        return
    try:
        read_weights(inside[0], where=where)
    except ConfigError as error:
        raise BundleError(where, error.found, expected=error.expected) from error
    found = f"found weights alone, {inside[0].name}"
    raise BundleError(where, found, expected="a folder that medfuse train wrote; transfer.image.weights takes weights")


def _checksums(files: Mapping[str, bytes]) -> str:
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))


def _check_complete(
    config: ModelConfig,
    targets: tuple[Target, ...],
    calibration: Mapping[str, Mapping[str, Calibration]],
    prevalence: Mapping[str, float],
) -> None:
    """Raise ValueError where a prediction would lack something."""
    conditions = set(conditions_of(config.modalities))
    if not targets or len({target.name for target in targets}) < len(targets):
        raise ValueError("targets")
    for target in targets:
        if not (conditions <= set(calibration[target.name]) and 0 < prevalence[target.name] < 1):
            raise ValueError(target.name)
        sizes = {0, 1 if target.kind == "binary" else len(target.classes)}
        if any(len(item.biases) not in sizes for item in calibration[target.name].values()):
            raise ValueError(target.name)


def build_for(
    preprocessing: Preprocessing, config: ModelConfig, targets: Sequence[Target]
) -> StudyClassifier | Ensemble:
    """Build the model of a configuration for the samples that a preprocessing gives.

    Raises
    ------
    ConfigError
        See `medfuse.models.build_model`.
    """
    if config.members == 1:
        return build_member_for(preprocessing, config, targets)
    return Ensemble([build_member_for(preprocessing, config, targets) for _ in range(config.members)])


def build_member_for(preprocessing: Preprocessing, config: ModelConfig, targets: Sequence[Target]) -> StudyClassifier:
    """Build one member of that model, which is the model itself if it has no other."""
    tokenizer = preprocessing.tokenizer
    return build_model(
        config,
        targets=targets,
        in_channels=preprocessing.image_shape[0],
        image_size=preprocessing.image.size,
        vocabulary_size=tokenizer.vocabulary_size if tokenizer else 0,
        n_flags=preprocessing.n_flags,
        table_shape=preprocessing.table.shape if preprocessing.table else NO_TABLE,
    )


def _build(
    config: ModelConfig, targets: tuple[Target, ...], preprocessing: Preprocessing, where: str
) -> StudyClassifier | Ensemble:
    if "text" in config.modalities and preprocessing.tokenizer is None:
        raise BundleError(where, f"found no {TOKENIZER}", expected="the tokenizer of a model that reads text")
    if "table" in config.modalities and preprocessing.table is None:
        raise BundleError(where, "found no columns of its table", expected="those of a model that reads one")
    try:
        return build_for(preprocessing, config, targets)
    except (ConfigError, RuntimeError) as error:  # RuntimeError: torch cannot make a tensor of that size
        found = f": {error}" if isinstance(error, ConfigError) else ""
        raise BundleError(where, f"found a model that cannot be built{found}") from error


def _labels_digest(targets: Sequence[Target]) -> str:
    """Return what names targets and their classes in their order: a head's outputs tell none of it."""
    content = json.dumps([(target.name, target.kind, list(target.classes)) for target in targets])
    return hashlib.sha256(content.encode()).hexdigest()


def _check_labels(weights: bytes, targets: Sequence[Target], where: str) -> None:
    """Refuse weights that were learnt for other labels than model.json names."""
    try:
        header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
        known = header.get("__metadata__", {}).get(LABELS)
    except (ValueError, AttributeError, RecursionError):
        return  # no weights at all: refused where they are loaded
    if known not in (None, _labels_digest(targets)):  # weights saved by older versions name none
        found = "its weights were learnt for other labels than model.json names"
        raise BundleError(f"{where}/{WEIGHTS}", found, expected="the same targets and classes, in the same order")


def _load_weights(model: nn.Module, data: bytes, where: str) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        weights = load(data)
        types = {name: tensor.dtype for name, tensor in model.state_dict().items()}
        if types != {name: tensor.dtype for name, tensor in weights.items()}:
            raise ValueError("other names or types")
        model.load_state_dict(weights)
    except (SafetensorError, RuntimeError, ValueError, KeyError) as error:
        found = "its weights do not fit the model in model.json"
        raise BundleError(f"{where}/{WEIGHTS}", found, expected="equal names, shapes and types") from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in weights.values() if tensor.is_floating_point()):
        raise BundleError(f"{where}/{WEIGHTS}", "found NaN or infinite weights", expected="finite numbers")


def _model_id(sums: str) -> str:
    return hashlib.sha256(sums.encode()).hexdigest()[:12]
