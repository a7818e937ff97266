"""What a model knows beside its weights: how sure it is, what its training images look like, and where they lie.

Arrays are kept in evidence.safetensors, all else in evidence.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medfuse.errors import BundleError, DataError
from medfuse.evaluation import ConformalRule, VennAbersRule
from medfuse.inference.novelty import NoveltyLimit
from medfuse.inference.training_cases import TrainingCases
from medfuse.inference.uncertainty import Uncertainty
from medfuse.types import Target

__all__ = ["ARRAYS", "WORDS", "Evidence", "pack_evidence", "unpack_evidence"]

ARRAYS, WORDS = "evidence.safetensors", "evidence.json"
Arrays = dict[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What was learnt of a model from its training and validation cases once its weights were final.

    Parameters
    ----------
    uncertainty : mapping of str to mapping of str to Uncertainty
        By target, then by condition; a condition without validation cases is left out.
    novelty : NoveltyLimit, optional
        None if the model reads no image or none was there.
    training_cases : TrainingCases, optional
    """

    uncertainty: Mapping[str, Mapping[str, Uncertainty]] = field(default_factory=dict)
    novelty: NoveltyLimit | None = None
    training_cases: TrainingCases | None = None


def pack_evidence(evidence: Evidence) -> dict[str, bytes]:
    """Return the content of both files by their names."""
    from safetensors.torch import save

    arrays: Arrays = {}
    words: dict[str, Any] = {
        "uncertainty": {
            target: {
                condition: _pack_uncertainty(found, f"uncertainty/{target}/{condition}", arrays)
                for condition, found in by_condition.items()
            }
            for target, by_condition in evidence.uncertainty.items()
        },
        "novelty": None,
        "training_cases": None,
    }
    if (novelty := evidence.novelty) is not None:
        arrays |= {"novelty/centre": torch.from_numpy(novelty.centre)}
        arrays |= {"novelty/whitening": torch.from_numpy(novelty.whitening)}
        words["novelty"] = {name: getattr(novelty, name) for name in _NOVELTY}
    if (cases := evidence.training_cases) is not None:
        arrays |= {f"embeddings/{name}": torch.from_numpy(array) for name, array in cases.embeddings.items()}
        arrays |= {f"labels/{name}": torch.from_numpy(array) for name, array in cases.labels.items()}
        arrays |= {f"known/{name}": torch.from_numpy(getattr(cases, name)) for name in _KNOWN}
        words["training_cases"] = list(cases.case_keys)
    tidy = {name: tensor.contiguous() for name, tensor in arrays.items()}
    return {ARRAYS: save(tidy), WORDS: json.dumps(words, sort_keys=True).encode()}


_NOVELTY = ("limit", "promise", "n_validation", "n_alarms")
_KNOWN = ("patients", "images")
_RULE = ("scores", "low", "high")


def _pack_uncertainty(found: Uncertainty, where: str, arrays: Arrays) -> dict[str, Any]:
    for number, rule in enumerate(found.intervals):
        for name in _RULE:
            arrays[f"{where}/{number}/{name}"] = torch.tensor(getattr(rule, name), dtype=torch.float64)
    sets = found.sets
    return {
        "intervals": [{"n": rule.n, "n_positive": rule.n_positive} for rule in found.intervals],
        "sets": {"coverage": sets.coverage, "cutoffs": sets.cutoffs, "n": sets.n, "by_class": sets.by_class},
    }


def unpack_evidence(files: Mapping[str, bytes], targets: Sequence[Target], where: str) -> Evidence:
    """Rebuild what `pack_evidence` gave, checking every value.

    Parameters
    ----------
    files : mapping of str to bytes
    targets : sequence of Target
        Of the model.
    where : str
        Name used in messages.

    Raises
    ------
    BundleError
        If a value is missing or wrong.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        arrays, words = load(files[ARRAYS]), json.loads(files[WORDS])
        uncertainty = {
            target.name: {
                str(condition): _unpack_uncertainty(content, f"uncertainty/{target.name}/{condition}", arrays, target)
                for condition, content in words["uncertainty"].get(target.name, {}).items()
            }
            for target in targets
        }
        novelty = None if words["novelty"] is None else _unpack_novelty(words["novelty"], arrays)
        keys = words["training_cases"]
        cases = None if keys is None else _unpack_cases(tuple(map(str, keys)), targets, arrays)
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError, DataError) as error:
        raise BundleError(f"{where}/{WORDS}", f"found a missing or wrong value in it or in {ARRAYS}") from error
    return Evidence(uncertainty, novelty, cases)


def _unpack_uncertainty(content: Mapping[str, Any], where: str, arrays: Arrays, target: Target) -> Uncertainty:
    rules = []
    for number, counts in enumerate(content["intervals"]):
        scores, low, high = (tuple(_take(arrays, f"{where}/{number}/{name}", np.float64).tolist()) for name in _RULE)
        rules.append(VennAbersRule(scores, low, high, int(counts["n"]), int(counts["n_positive"])))
    sets = content["sets"]
    cutoffs, n = tuple(map(float, sets["cutoffs"])), tuple(map(int, sets["n"]))
    if len(cutoffs) != len(target.classes):
        raise ValueError("sets of other classes")
    return Uncertainty(tuple(rules), ConformalRule(float(sets["coverage"]), cutoffs, n, bool(sets["by_class"])))


def _unpack_novelty(content: Mapping[str, Any], arrays: Arrays) -> NoveltyLimit:
    return NoveltyLimit(
        _take(arrays, "novelty/centre", np.float64),
        _take(arrays, "novelty/whitening", np.float64),
        float(content["limit"]),
        float(content["promise"]),
        int(content["n_validation"]),
        int(content["n_alarms"]),
    )


def _unpack_cases(keys: tuple[str, ...], targets: Sequence[Target], arrays: Arrays) -> TrainingCases:
    named = [name.removeprefix("embeddings/") for name in arrays if name.startswith("embeddings/")]
    return TrainingCases(
        keys,
        {name: _take(arrays, f"embeddings/{name}", np.float16) for name in sorted(named)},
        {target.name: _take(arrays, f"labels/{target.name}", np.int16) for target in targets},
        tuple(targets),
        _take(arrays, "known/patients", np.int64),
        _take(arrays, "known/images", np.int64),
    )


def _take(arrays: Arrays, name: str, dtype: type[np.generic]) -> Any:
    """Return an array of the type that it was saved in."""
    found = arrays[name].numpy()
    if found.dtype != dtype:
        raise ValueError(name)
    return found
