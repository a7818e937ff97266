"""Configuration -> model, component by component."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from medfuse.config import ModelConfig
from medfuse.docstrings import parameters
from medfuse.models.aligners import ALIGNERS
from medfuse.models.classifier import StudyClassifier, projection
from medfuse.models.ensemble import Ensemble
from medfuse.models.fusions import FUSIONS
from medfuse.models.heads import HEADS, Head, OrdinalHead
from medfuse.models.image_encoders import IMAGE_ENCODERS, ImageEncoder
from medfuse.models.table_encoders import TABLE_ENCODERS, TableEncoder
from medfuse.models.text_encoder import TextEncoder
from medfuse.models.text_encoders import TEXT_ENCODERS
from medfuse.registry import build, choose, with_entry_points
from medfuse.tensors import NO_TABLE, TableShape
from medfuse.types import Target

__all__ = [
    "build_model",
    "check_components",
    "component_options",
    "list_components",
    "pretrained_tokenizer",
    "self_contained",
]

_KINDS: dict[str, dict[str, type[Any]]] = {
    "image_encoder": IMAGE_ENCODERS,
    "text_encoder": TEXT_ENCODERS,
    "table_encoder": TABLE_ENCODERS,
    "aligner": ALIGNERS,
    "fusion": FUSIONS,
    "head": HEADS,
}


def build_model(  # noqa: PLR0913 - what each modality needs is an argument
    config: ModelConfig,
    *,
    targets: Sequence[Target],
    in_channels: int,
    image_size: tuple[int, int, int],
    vocabulary_size: int,
    n_flags: int = 0,
    table_shape: TableShape = NO_TABLE,
) -> StudyClassifier:
    """Build one model of a configuration; its ``members`` are not read.

    Parameters
    ----------
    config : ModelConfig
    targets : sequence of Target
    in_channels : int
        C.
    image_size : tuple of int
        (I, J, K).
    vocabulary_size : int
        Of the tokenizer; 0 if the model reads no text.
    n_flags : int
        F, what goes to the model beside the encoded text.
    table_shape : TableShape
        Of the clinical table; empty if the model reads none.

    Returns
    -------
    StudyClassifier

    Raises
    ------
    ConfigError
        If a component or one of its options is unknown, or refuses these sizes.
    """
    given: dict[str, Any] = {
        "in_channels": in_channels,
        "image_size": image_size,
        "vocabulary_size": vocabulary_size,
        "table_shape": table_shape,
        "modalities": config.modalities,
        "embedding_size": config.embedding_size,
    }
    encoders: dict[str, ImageEncoder | TextEncoder | TableEncoder] = {}
    for modality in config.modalities:
        encoders[modality] = _build(config, f"{modality}_encoder", given)
    fusion, aligner = _build(config, "fusion", given), _build(config, "aligner", given)
    reads_local = fusion.reads_local or getattr(aligner, "reads_local", False)
    local_sizes = _local_sizes(encoders, (in_channels, *image_size)) if reads_local else {}

    def head(in_size: int, target: Target) -> Head:
        n_outputs = 1 if target.kind == "ordinal" else target.n_outputs
        built: Head = _build(config, "head", {"in_size": in_size, "n_outputs": n_outputs})
        return OrdinalHead(built, target.n_outputs) if target.kind == "ordinal" else built

    several = len(config.modalities) > 1
    return StudyClassifier(
        encoders,
        projections={
            name: projection(encoder.feature_size + n_flags * (name == "text"), config.embedding_size)
            for name, encoder in encoders.items()
        },
        aligner=aligner,
        fusion=fusion,
        heads={
            "fused": {t.name: fusion.make_head(partial(head, target=t)) for t in targets},
            **{m: {t.name: head(config.embedding_size, t) for t in targets} for m in config.modalities if several},
        },
        local_projections={name: projection(size, config.embedding_size) for name, size in local_sizes.items()},
        modality_dropout=config.modality_dropout,
    )


def check_components(config: ModelConfig) -> None:
    """Check the names of the components that a model is built of, before anything else is done with it.

    Raises
    ------
    ConfigError
        If there is no component of a name.

    Examples
    --------
    >>> check_components(ModelConfig(head={"name": "tree"}))
    Traceback (most recent call last):
    medfuse.errors.ConfigError: model.head.name: found 'tree'; expected one of 'linear', 'mlp'
    """
    for kind in (*(f"{modality}_encoder" for modality in config.modalities), "aligner", "fusion", "head"):
        choose(_components(kind), getattr(config, kind), where=f"model.{kind}")


def _local_sizes(
    encoders: Mapping[str, ImageEncoder | TextEncoder | TableEncoder], image_shape: tuple[int, int, int, int]
) -> dict[str, int]:
    """Return the length of what each encoder gives of a part, as one empty case shows it."""
    sizes = {}
    for name, encoder in encoders.items():
        encoder.eval()
        with torch.no_grad():
            if isinstance(encoder, ImageEncoder):
                sizes[name] = encoder.feature_map(torch.zeros(1, *image_shape)).shape[1]
            elif isinstance(encoder, TextEncoder):
                word = encoder.embed(torch.zeros(1, 1, dtype=torch.int64))
                sizes[name] = encoder.token_states(word, torch.ones(1, 1, dtype=torch.bool)).shape[2]
        encoder.train()
    return sizes


def _build(config: ModelConfig, kind: str, given: dict[str, Any]) -> Any:
    return build(_components(kind), getattr(config, kind), where=f"model.{kind}", given=given)


def _components(kind: str) -> dict[str, type[Any]]:
    return with_entry_points(_KINDS[kind], group=f"medfuse.{kind}s")


def pretrained_tokenizer(config: ModelConfig) -> str | None:
    """Return the tokenizer, as JSON, that the text encoder was pretrained with; None if there is none.

    Raises
    ------
    ConfigError
        If the text encoder is unknown, or its files cannot be read.
    """
    if "text" not in config.modalities:
        return None
    encoders: dict[str, type[TextEncoder]] = _components("text_encoder")
    encoder = choose(encoders, config.text_encoder, where="model.text_encoder")
    return encoder.tokenizer_json(config.text_encoder)


def self_contained(config: ModelConfig, model: StudyClassifier | Ensemble) -> ModelConfig:
    """Return the configuration that rebuilds a model from its saved weights, whatever files it was made from."""
    if "text" not in config.modalities:
        return config
    member = cast(StudyClassifier, model.members[0] if isinstance(model, Ensemble) else model)
    encoder = cast(TextEncoder, member.encoders["text"])
    return config.model_copy(update={"text_encoder": encoder.saved_options(config.text_encoder)})


def list_components() -> dict[str, dict[str, dict[str, str]]]:
    """Return every component: kind, name, and its options with their defaults.

    Returns
    -------
    dict of str to dict of str to dict of str to str
        The key ``""`` holds what the component is.

    Examples
    --------
    >>> sorted(list_components()["head"])
    ['linear', 'mlp']
    """
    listed: dict[str, dict[str, dict[str, str]]] = {}
    for kind in _KINDS:
        components: dict[str, type[nn.Module]] = _components(kind)
        listed[kind] = {}
        for name, component in components.items():
            parameters = inspect.signature(component).parameters.values()
            options = {p.name: repr(p.default) for p in parameters if p.default is not p.empty}
            listed[kind][name] = {"": (inspect.getdoc(component) or "").split("\n")[0], **options}
    return listed


def component_options(kind: str, name: str) -> dict[str, str]:
    """Return what is said of each option of a component.

    Parameters
    ----------
    kind : str
        As `list_components` names it.
    name : str

    Examples
    --------
    >>> component_options("head", "mlp")["hidden_size"]
    'Length of the hidden layer.'
    """
    return parameters(inspect.getdoc(_components(kind)[name]))
