"""One case explained: where the answer comes from, what it would have been without, and how far to believe that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medfuse.errors import DataError
from medfuse.explain.case_logit import FLAGS, CaseLogit
from medfuse.explain.checks import CheckOptions, failed_checks, scored_and_checked
from medfuse.explain.concepts import read_concepts
from medfuse.explain.localisation import localisation_checks
from medfuse.explain.method import Scores
from medfuse.explain.methods import build_method, describe_method
from medfuse.explain.neighbours import similar_cases
from medfuse.explain.randomisation import forgetful_models
from medfuse.explain.shares import interaction_index, shapley_values, without_modalities, worth_of_modalities
from medfuse.explain.standing import standing_checks
from medfuse.explain.table import column_scores
from medfuse.explain.wording import TokenScores, Wording, sentence_scores, spread_flags, without_words
from medfuse.explanation_parts import TrustCheck
from medfuse.inference import Predictor
from medfuse.tensors import Sample
from medfuse.types import Array, Explanation, ReportText

__all__ = ["ExplainOptions", "explain", "held_against"]

DEFAULT_IMAGE, DEFAULT_TEXT = {"name": "integrated_gradients"}, {"name": "gradient_shap"}
"""Each the best of its input on the validation cases of ``reports/explanations``."""


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """How a case is explained.

    Parameters
    ----------
    image_method, text_method : mapping
        ``name`` of a method in `medfuse.explain.METHODS`, beside its options. Where both are the same, image and text
        move together, and their scores share one difference out.
    checks : CheckOptions
    withhold : bool
        Give no map and no marks that failed a test.
    """

    image_method: Mapping[str, Any] = field(default_factory=lambda: DEFAULT_IMAGE)
    text_method: Mapping[str, Any] = field(default_factory=lambda: DEFAULT_TEXT)
    checks: CheckOptions = field(default_factory=CheckOptions)
    withhold: bool = True


def explain(
    predictor: Predictor,
    sample: Sample,
    *,
    text: ReportText | None = None,
    affine: Array | None = None,
    target: str | None = None,
    options: ExplainOptions | None = None,
) -> Explanation:
    """Explain one case.

    Each voxel and each token gets its signed part in the log-odds of the last class, held against a case without
    content: an even image at this image's median, and unknown words.

    Parameters
    ----------
    predictor : Predictor
    sample : Sample
        Prepared by the predictor's preprocessing.
    text : ReportText, optional
        What the sample's tokens come from; without it there are no marks, and nothing is said of single words.
    affine : ndarray, shape (4, 4), optional
        Index in the sample's image to RAS+ mm.
    target : str, optional
        By default the model's first.
    options : ExplainOptions, optional

    Returns
    -------
    Explanation
        Map and marks that failed a test are left out, and ``withheld`` names the tests.

    Raises
    ------
    UsageError
        If the model has no such target, the sample's tokens do not come from ``text``, or a method does not hold for
        the model.
    ConfigError
        If there is no such method or option.
    """
    options = options or ExplainOptions()
    bundle = predictor.bundle
    case = CaseLogit(predictor, sample, target or bundle.targets[0].name)
    prediction = next(p for p in predictor.predict_samples([sample]) if p.target == case.target.name)
    wording = Wording.of(predictor, sample, text) if text is not None and "text" in case.modalities else None
    scores, checks, methods = _score(case, options)
    withheld = {name: failed for name in methods if (failed := failed_checks(checks, name))}
    token_scores = _token_scores(scores, wording)
    worth = worth_of_modalities(case)
    players = case.modalities
    pair = ("image", "text")
    shown = {name for name in scores if not (options.withhold and name in withheld)}
    return Explanation(
        prediction,
        image=predictor.preprocessing.undo_window(sample.image) if sample.image is not None else None,
        image_map=scores["image"].float().numpy() if "image" in shown else None,
        affine=affine,
        text=wording.text if wording else "",
        token_scores=token_scores if "text" in shown else (),
        modality_shares=shapley_values(players, worth),
        method="; ".join(dict.fromkeys(methods.values())),
        checks=_in_short(checks),
        fusion_weights=case.fusion_weights(),
        trust=(*checks, *standing_checks(prediction)),
        methods=methods,
        withheld=withheld,
        sentence_scores=sentence_scores(case, wording) if wording else (),
        column_scores=column_scores(case),
        interaction=interaction_index(players, worth, pair=pair) if set(pair) <= set(players) else None,
        counterfactuals=(
            *without_modalities(prediction, bundle.preprocessing.modalities),
            *(without_words(case, wording, token_scores) if wording else ()),
        ),
        concepts=read_concepts(case),
        similar_cases=similar_cases(bundle, sample),
    )


def held_against(explanation: Explanation, mask: NDArray[np.bool_]) -> Explanation:
    """Add to an explanation how well its map lies in the lesion, where somebody has drawn the lesion.

    Parameters
    ----------
    explanation : Explanation
    mask : ndarray of bool, shape (I, J, K)
        On the grid of its image.

    Returns
    -------
    Explanation
        Unchanged if it shows no map or the mask is empty.

    Raises
    ------
    DataError
        If the mask has another shape.
    """
    if explanation.image_map is None or not mask.any():
        return explanation
    if mask.shape != explanation.image_map.shape:
        raise DataError("mask", f"found shape {mask.shape}", expected=f"{explanation.image_map.shape}")
    found = localisation_checks(torch.from_numpy(explanation.image_map), torch.from_numpy(mask))
    return replace(explanation, trust=(*explanation.trust, *found))


def _score(case: CaseLogit, options: ExplainOptions) -> tuple[Scores, list[TrustCheck], dict[str, str]]:
    """Score what moves by the chosen methods; together where they are one."""
    asked = {"image": options.image_method, "text": options.text_method}
    chosen = {name: build_method(asked[name], explains=name) for name in case.names if name in asked}
    groups: dict[Any, list[str]] = {}
    for name, method in chosen.items():
        groups.setdefault(method, []).append(name)
    forgetful = forgetful_models(case.model, n=options.checks.n_models, seed=options.checks.seed)
    scores: Scores = {}
    checks: list[TrustCheck] = []
    for method, names in groups.items():
        moving = case.moving((*names, FLAGS) if "text" in names else names)
        found, tested = scored_and_checked(moving, method, options.checks, forgetful=forgetful)
        scores |= found
        # Of two methods each divides a difference of its own.
        suffix = f"_{names[0]}" if len(groups) > 1 else ""
        checks += [replace(c, name=c.name + suffix) if c.name == "completeness" else c for c in tested]
    return scores, checks, {name: describe_method(method) for name, method in chosen.items()}


def _in_short(checks: list[TrustCheck]) -> dict[str, float]:
    """Return the part that the scores miss, and how many times as far as random ones a deletion by them moves."""
    missed = max((check.value for check in checks if check.name.startswith("completeness")), default=None)
    moved = {check.name: check.details["times_random"] for check in checks if check.name.startswith("deletion_")}
    return moved if missed is None else {"completeness_delta": missed, **moved}


def _token_scores(scores: Scores, wording: Wording | None) -> TokenScores:
    """Return where each token stands and what it scores, its part of the flags included."""
    if wording is None or "text" not in scores:
        return ()
    values = scores["text"]
    if FLAGS in scores:
        values = values + spread_flags(wording, scores[FLAGS])
    return tuple((a, b, float(v)) for (a, b), v in zip(wording.offsets, values, strict=True))
