"""What a checklist or model card asks for, answered from the data; what is not known is absent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medfuse.reporting.provenance import design_of
from medfuse.reporting.result_tables import threshold_words
from medfuse.reporting.verdict import asked, main_condition
from medfuse.reporting.words import number

if TYPE_CHECKING:
    from medfuse.config import RunConfig
    from medfuse.evaluation import Evaluation
    from medfuse.reporting.background import Background
    from medfuse.reporting.catalogue import Catalogue
    from medfuse.reporting.sentences import Sentences

__all__ = ["topics_of"]

CONTROLS = ("fused_shuffled", "fused_masked", "text_masked")


def topics_of(
    evaluation: Evaluation | None, background: Background, words: Sentences, *, is_only: bool = True
) -> dict[str, str]:
    """Answer each topic that the data hold an answer to.

    Parameters
    ----------
    evaluation : Evaluation or None
    background : Background
    words : Sentences
    is_only : bool
        Whether it is the only one; of several targets one stands for how all were evaluated.

    Returns
    -------
    dict of str to str
        Sentences by topic.
    """
    say = words.say
    known = {"summary": say("topic.summary"), "limits": say("topic.limits")}
    if evaluation is not None:
        known |= _of_numbers(evaluation, background, words) if is_only else _of_any(evaluation, words)
    if background.cohort_facts is not None:
        known |= _of_cohort(background.cohort_facts, say)
    if background.cohort is not None:
        known |= _of_table(background, say)
    if background.config is not None:
        known |= _of_config(background.config, say) | _of_record(background.record, background.config, say)
    if "versions" in background.provenance:
        known["software"] = say("topic.software", versions=background.provenance["versions"])
    if "command" in background.provenance:
        known["calculated"] = say("topic.calculated", command=background.provenance["command"])
    if background.n_weights is not None:
        known["size"] = say("topic.size", n=f"{background.n_weights:,}")
    return {topic: sentence for topic, sentence in known.items() if sentence}


def _of_numbers(evaluation: Evaluation, background: Background, words: Sentences) -> dict[str, str]:
    say, main = words.say, main_condition(evaluation)
    counts: dict[str, Any] = {
        "cases": evaluation.n,
        "patients": evaluation.n_patients,
        "positive": evaluation.n_positive,
        "negative": evaluation.n - evaluation.n_positive,
    }
    metrics = evaluation.metrics[main]
    where = "external" if background.is_external else "internal"
    is_known = background.is_external or background.config is not None
    return {
        "objective": asked(evaluation, words),
        "goal": say(f"topic.goal_{where}") if is_known else "",
        "robustness": _robustness(evaluation, say),
        where: say(f"topic.{where}", cases=evaluation.n, patients=evaluation.n_patients) if is_known else "",
        "numbers": say("topic.numbers", **counts),
        "performance": say("topic.performance", auroc=words.estimate(metrics["auroc"]), n=evaluation.n),
        "failures": say("topic.failures", n=len(background.worst)) if background.worst else "",
        "threshold": say("topic.threshold", threshold=threshold_words(evaluation.operating_points[main][0], words)),
        "power": _power(evaluation, words),
        **_of_any(evaluation, words),
    }


def _of_any(evaluation: Evaluation, words: Sentences) -> dict[str, str]:
    """Say how one target was evaluated, and so every other of the table."""
    say, metrics = words.say, evaluation.metrics[main_condition(evaluation)]
    columns = ", ".join(factor.column for factor in evaluation.subgroups)
    return {
        "metrics": say("topic.metrics", names=", ".join(say.of("metric", name, name) for name in metrics)),
        "uncertainty": say("topic.uncertainty", level=words.level, method=say.translated(metrics["auroc"].method)),
        "fairness": say("topic.fairness", columns=columns) if columns else "",
        "clusters": say("topic.clusters") if evaluation.n_patients < evaluation.n else "",
    }


def _power(evaluation: Evaluation, words: Sentences) -> str:
    found = evaluation.detectable.get(f"fused - {evaluation.better_single}", math.nan)
    if math.isnan(found):
        return ""
    name = words.condition(evaluation.better_single)
    return words.say("topic.power", name=name, difference=number(found))


def _robustness(evaluation: Evaluation, say: Catalogue) -> str:
    shown = [say.of("condition", name, name) for name in CONTROLS if name in evaluation.metrics]
    return say("topic.robustness", shown=", ".join(shown)) if shown else ""


def _of_cohort(facts: Mapping[str, Any], say: Catalogue) -> dict[str, str]:
    known = {"sources": say("topic.sources", cases=facts["manifest"]["cases"], patients=facts["manifest"]["patients"])}
    if facts["years"]:
        known["dates"] = say("topic.dates", first=facts["years"][0], last=facts["years"][1])
    if facts["refused"] is not None:
        n_refused = sum(one["cases"] + one["studies"] for one in facts["refused"])
        known["eligibility"] = say("topic.eligibility", refused=n_refused, unlabelled=facts["unlabelled"])
    n_shared = sum(pair["patients"] for pair in facts["shared"].values())
    if facts["shared"]:
        known["disjoint"] = say("topic.disjoint" if not n_shared else "topic.not_disjoint", n=n_shared)
    return known


def _of_table(background: Background, say: Catalogue) -> dict[str, str]:
    table = background.cohort
    if table is None:
        return {}
    without = {name: int((~table[f"has_{name}"]).sum()) for name in ("image", "text")}
    return {
        "missing": say("topic.missing", image=without["image"], text=without["text"], n=len(table)),
        "characteristics": say("topic.characteristics"),
    }


def _of_config(config: RunConfig, say: Catalogue) -> dict[str, str]:
    model, optim, data = config.model, config.optim, config.data
    inputs = say("inputs." + "_".join(m for m in ("image", "text", "table") if m in model.modalities))
    encoders = [str(getattr(model, f"{name}_encoder")["name"]) for name in model.modalities]
    design = design_of(config, say)
    transfers = [name for name in ("image", "text", "table") if getattr(config.transfer, name).weights]
    read = [target.name for target in config.targets if target.labels_from == "report"]
    balanced = optim.loss.class_weights == "balanced" or optim.loss.logit_adjustment > 0
    several = len(model.modalities) > 1
    fusion = say("topic.fusion", fusion=model.fusion["name"], aligner=model.aligner["name"]) if several else ""
    return {
        "technology": say("topic.technology", inputs=inputs),
        "predicts": say("topic.predicts", targets=", ".join(target.name for target in config.targets), inputs=inputs),
        "output": say("topic.output"),
        "model": say("topic.model", encoders=", ".join(encoders), head=model.head["name"], fusion=fusion),
        "preprocessing": _preprocessing(config, say),
        "subset": say(f"topic.region_{data.image.region}") if "image" in model.modalities else "",
        "deidentified": say("topic.deidentified"),
        "reference": say("topic.reference_report", targets=", ".join(read)) if read else "",
        "split": design[0],
        "start": say("topic.start_from", encoders=", ".join(transfers)) if transfers else say("topic.start_random"),
        "training": say(
            "topic.training",
            epochs=optim.epochs,
            batch=optim.batch_size,
            rate=f"{optim.learning_rate:g}",
            seed=config.seed,
        ),
        "ensemble": say("topic.ensemble", n=model.members) if model.members > 1 else say("topic.no_ensemble"),
        "imbalance": say("topic.imbalance" if balanced else "topic.no_imbalance"),
        "updating": say("topic.updating"),
        "unusable": say("topic.unusable"),
    }


def _preprocessing(config: RunConfig, say: Catalogue) -> str:
    said = []
    image, text = config.data.image, config.data.text
    if "image" in config.model.modalities:
        size = " × ".join(map(str, image.size))
        spacing = say("topic.spacing_fitted") if image.spacing_mm is None else f"{image.spacing_mm:g} mm"
        windows = "; ".join(_window(channel.intensity, say) for channel in image.channels)
        said.append(say("topic.image", size=size, spacing=spacing, windows=windows))
    if "text" in config.model.modalities:
        said.append(say("topic.text", length=text.max_length, vocabulary=text.vocabulary_size))
    return say("sentence.gap").join(said)


def _window(intensity: str | tuple[float, float], say: Catalogue) -> str:
    if isinstance(intensity, str):
        return intensity
    return say("topic.window", low=f"{intensity[0]:g}", high=f"{intensity[1]:g}")


def _of_record(record: Mapping[str, Any], config: RunConfig, say: Catalogue) -> dict[str, str]:
    known = {}
    if "best_epoch" in record:
        known["selection"] = say("topic.selection", epoch=int(record["best_epoch"]) + 1, epochs=record["epochs"])
    if "cases" in record:
        n = record["cases"]
        known["development"] = say("topic.development", train=n["train"], validation=n["validation"], test=n["test"])
    elif config.data.folds:
        known["development"] = say("topic.development_folds", n=config.data.folds)
    return known
