from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from medfuse.config import DistilConfig, RunConfig
from medfuse.data import Case, to_samples
from medfuse.errors import ConfigError
from medfuse.inference import load_bundle, predict_logits
from medfuse.models.distillation import distillation_loss
from medfuse.tensors import Batch, ModelOutput
from medfuse.training import Fit, fit
from medfuse.training.distilling import ask_teacher
from medfuse.training.parts import Parts, split_cases


@pytest.fixture(scope="module")
def parts(toy_cases: Sequence[Case], toy_config: RunConfig) -> Parts:
    with_image = [case for case in toy_cases if case.has_image]
    return split_cases(with_image, toy_config.data, seed=toy_config.seed)


@pytest.fixture(scope="module")
def student(toy_config: RunConfig, toy_bundle: Path) -> RunConfig:
    """An image-only config with the fused toy model as its teacher."""
    model = toy_config.model.model_copy(update={"modalities": ("image",)})
    optim = toy_config.optim.model_copy(update={"epochs": 2})
    distil = DistilConfig(teacher=str(toy_bundle), temperature=3.0, weight=2.0)
    return toy_config.model_copy(update={"model": model, "optim": optim, "distil": distil})


def test_the_teacher_answers_with_image_and_report(student: RunConfig, parts: Parts, toy_bundle: Path) -> None:
    teacher = ask_teacher(student, parts.train)
    assert teacher is not None
    bundle = load_bundle(toy_bundle)
    whole = [case for case in parts.train if case.text is not None]
    assert set(teacher.answers) == {case.id for case in whole}
    logits = predict_logits(bundle, to_samples(whole, bundle.preprocessing))["fused"]
    for name, rows in logits.items():
        torch.testing.assert_close(torch.stack([teacher.answers[c.id][name] for c in whole]), rows)


def test_the_loss_counts_the_cases_that_the_teacher_answered(student: RunConfig, parts: Parts) -> None:
    cases = [replace(parts.train[0], text=None), *parts.train[1:4]]
    teacher = ask_teacher(student, cases)
    assert teacher is not None
    name = student.targets[0].name
    target = student.targets[0].build()
    logits = torch.randn(4, target.n_outputs)
    n = len(cases)
    batch = Batch(
        tuple(c.id for c in cases), ("image",), *[torch.zeros(n, 0)] * 4, present=torch.ones(n, 1, dtype=torch.bool)
    )
    found = teacher.loss(ModelOutput({name: logits}, {}, batch.present), batch)
    theirs = torch.stack([teacher.answers[c.id][name] for c in cases[1:]])
    known = torch.ones(3, dtype=torch.bool)
    expected = distillation_loss(logits[1:], theirs, known, target=target, temperature=3.0)
    torch.testing.assert_close(found, expected)


def test_a_student_of_images_alone_comes_closer_to_its_teacher(student: RunConfig, parts: Parts) -> None:
    def distance(done: Fit) -> float:
        rows = [row["train_distillation"] for row in done.history]
        return rows[-1] - rows[0]

    done = fit(student, train=parts.train, validation=parts.validation)
    assert done.bundle.preprocessing.modalities == ("image",)
    assert distance(done) < 0
    alone = fit(student.model_copy(update={"distil": DistilConfig()}), train=parts.train, validation=parts.validation)
    assert "train_distillation" not in alone.history[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": {"spacing_mm": 3.0}}, "prepares images otherwise"),
        ({"targets": True}, "does not answer target"),
    ],
)
def test_a_teacher_of_another_kind_is_refused(
    change: dict[str, Any], message: str, student: RunConfig, parts: Parts
) -> None:
    if "image" in change:
        image = student.data.image.model_copy(update=change["image"])
        config = student.model_copy(update={"data": student.data.model_copy(update={"image": image})})
    else:
        other = student.targets[0].model_copy(update={"classes": ("other", "classes")})
        config = student.model_copy(update={"targets": (other,)})
    with pytest.raises(ConfigError, match=message):
        ask_teacher(config, parts.train)


def test_cases_without_what_the_teacher_reads_are_refused_together(student: RunConfig, parts: Parts) -> None:
    with pytest.raises(ConfigError, match=r"found no case with all that it reads \(image, text\)"):
        ask_teacher(student, [replace(case, text=None) for case in parts.train])
