"""Scores of a case with the tests that they must pass before anyone believes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medfuse.explain.case_logit import CaseLogit, Classifier
from medfuse.explain.faithfulness import N_RANDOM, faithfulness_checks
from medfuse.explain.gradients import ALLOWED
from medfuse.explain.method import Method, Scores
from medfuse.explain.randomisation import N_RANDOM_MODELS, N_REPEATS, randomisation_checks, repeatability_checks
from medfuse.explanation_parts import TrustCheck

__all__ = ["CheckOptions", "completeness_check", "failed_checks", "scored_and_checked"]

COMPLETENESS_LIMIT = ALLOWED
DECISIVE = ("completeness", "faithfulness", "randomisation", "repeatability")
"""Scores that fail one of these are withheld."""


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """How thoroughly scores are tested.

    Parameters
    ----------
    n_random : int
        Random maps that deletion and insertion are held against.
    n_models : int
        Models that have forgotten what they learnt.
    n_repeats : int
        Repeats by other seeds, of the image with a little noise.
    seed : int
    """

    n_random: int = N_RANDOM
    n_models: int = N_RANDOM_MODELS
    n_repeats: int = N_REPEATS
    seed: int = 0


def scored_and_checked(
    case: CaseLogit, method: Method, options: CheckOptions, *, forgetful: Sequence[Classifier]
) -> tuple[Scores, list[TrustCheck]]:
    """Score what moves of a case, and test the scores.

    Parameters
    ----------
    case : CaseLogit
    method : Method
    options : CheckOptions
    forgetful : sequence of StudyClassifier or Ensemble
        Of the randomisation test.

    Returns
    -------
    scores : dict of str to Tensor
        By input.
    checks : list of TrustCheck
        Each is named by its test and, but for completeness, its input.
    """
    scores = method(case, seed=options.seed)
    shown = {name: values for name, values in scores.items() if name in ("image", "text")}
    checks = [completeness_check(case, scores)] if method.is_complete else []
    for name, values in shown.items():
        checks += faithfulness_checks(case.moving((name,)), values, n_random=options.n_random, seed=options.seed)
    checks += randomisation_checks(case, method, shown, forgetful, seed=options.seed)
    checks += repeatability_checks(case, method, shown, n_repeats=options.n_repeats, seed=options.seed)
    return scores, checks


def completeness_check(case: CaseLogit, scores: Scores) -> TrustCheck:
    """Hold the sum of all scores against the difference that they divide.

    Parameters
    ----------
    case : CaseLogit
    scores : dict of str to Tensor
        Of everything that moves.

    Returns
    -------
    TrustCheck
        ``completeness``: the part of the difference in log-odds that the scores miss, 0 if none; it passes up to 0.05.
        Details: ``difference`` and ``total``.

    Notes
    -----
    Source: Sundararajan et al. 2017, proposition 1.
    """
    full, none = case.ends()
    difference, total = full - none, float(sum(float(values.double().sum()) for values in scores.values()))
    value = abs(total - difference) / max(abs(difference), float(np.finfo(np.float32).eps))
    details = {"difference": difference, "total": total}
    return TrustCheck("completeness", value, value <= COMPLETENESS_LIMIT, COMPLETENESS_LIMIT, details)


def failed_checks(checks: list[TrustCheck], modality: str) -> tuple[str, ...]:
    """Return the names of the decisive checks that the scores of a modality failed.

    Examples
    --------
    >>> checks = [TrustCheck("completeness", 0.2, passed=False), TrustCheck("faithfulness_text", 0.0, passed=False)]
    >>> failed_checks(checks, "image")
    ('completeness',)
    """
    of_it = {f"{name}_{modality}" for name in DECISIVE} | {"completeness"}  # of both together it has no modality
    return tuple(check.name for check in checks if check.passed is False and check.name in of_it)
