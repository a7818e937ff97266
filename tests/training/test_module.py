import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from medfuse.config import LossConfig, OptimConfig, RunConfig
from medfuse.data import Case, collate, to_samples
from medfuse.errors import TrainingError
from medfuse.models import TargetLoss, build_model, study_loss
from medfuse.tensors import Batch
from medfuse.training import Fit, fit
from medfuse.training.module import ClassifierModule, make_schedule
from medfuse.training.parts import split_cases


@pytest.fixture
def batch(toy_fit: Fit, toy_cases: Sequence[Case]) -> Batch:
    preprocessing = toy_fit.bundle.preprocessing
    return collate(
        to_samples(toy_cases[:8], preprocessing),
        modalities=preprocessing.modalities,
        image_shape=preprocessing.image_shape,
        targets=["malignancy"],
    )


@pytest.fixture
def module(toy_fit: Fit, toy_config: RunConfig) -> ClassifierModule:
    torch.manual_seed(0)
    bundle = toy_fit.bundle
    tokenizer = bundle.preprocessing.tokenizer
    assert tokenizer is not None
    model = build_model(
        bundle.config, targets=bundle.targets, in_channels=1, image_size=bundle.preprocessing.image.size,
        vocabulary_size=tokenizer.vocabulary_size,
    )  # fmt: skip
    losses = {target.name: TargetLoss(target, LossConfig()) for target in bundle.targets}
    module = ClassifierModule(model, losses=losses, attributes={}, optim=toy_config.optim, steps=10)
    module.log = module.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign,assignment]
    return module


def test_the_training_loss_is_the_study_loss(module: ClassifierModule, batch: Batch, toy_config: RunConfig) -> None:
    torch.manual_seed(1)
    found = module.training_step(batch, 0)
    torch.manual_seed(1)
    output = module.model(batch)
    parts = study_loss(
        output, batch, targets=module.losses, attributes={}, optim=toy_config.optim, aligner=module.model.aligner
    )
    expected = parts["total"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.autograd.backward(found)
    gradients = [p.grad for p in module.model.parameters() if p.grad is not None]
    assert gradients and all(bool(torch.isfinite(g).all()) for g in gradients)


def test_the_running_mean_follows_its_formula(module: ClassifierModule, batch: Batch, toy_config: RunConfig) -> None:
    share = toy_config.optim.weight_average
    name, weight = next(iter(module.model.named_parameters()))
    mean = dict(module.averaged.module.named_parameters())[name]
    values = [1.0, 3.0, -2.0]
    expected = values[0]  # the first update takes the weights as they are
    for value in values:
        with torch.no_grad():
            weight.fill_(value)
        module.on_train_batch_end(None, batch, 0)
        expected = share * expected + (1 - share) * value
        torch.testing.assert_close(mean, torch.full_like(mean, expected))


def test_only_the_model_is_optimised_not_its_running_mean(module: ClassifierModule) -> None:
    optimizer: Any = module.configure_optimizers()["optimizer"]
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in module.model.parameters()}


def test_validation_asks_the_running_mean(module: ClassifierModule, batch: Batch) -> None:
    logged: dict[str, float] = {}
    module.log = lambda name, value, **kwargs: logged.update({name: value.item()})  # type: ignore[method-assign]
    module.eval()
    module.validation_step(batch, 0)
    before = dict(logged)
    with torch.no_grad():
        for parameter in module.model.parameters():
            parameter.add_(1.0)
    module.validation_step(batch, 0)
    assert logged == before


def test_the_learning_rate_goes_up_and_down_once_over_all_steps(module: ClassifierModule) -> None:
    set_up: Any = module.configure_optimizers()
    optimizer, schedule = set_up["optimizer"], set_up["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert max(rates) == pytest.approx(module.optim.learning_rate, rel=0.05)
    peak = rates.index(max(rates))
    assert rates == sorted(rates[: peak + 1]) + sorted(rates[peak + 1 :], reverse=True)
    assert set_up["lr_scheduler"]["interval"] == "step"


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.2])
def test_the_other_schedules_follow_their_formulas(schedule: Any, warmup: float) -> None:
    steps, peak = 50, 0.1
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    course = make_schedule(optimizer, OptimConfig(schedule=schedule, warmup=warmup), steps=steps)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        course.step()
    rising = int(warmup * steps)
    expected = [
        (step + 1) / rising if step < rising
        else 1.0 if schedule == "constant"
        else (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2
        for step in range(steps)
    ]  # fmt: skip
    assert rates == pytest.approx([peak * share for share in expected])
    assert max(rates) == pytest.approx(peak)


def test_gradients_are_clipped_and_one_that_is_not_finite_is_named(
    module: ClassifierModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClassifierModule, "current_epoch", 3)
    monkeypatch.setattr(ClassifierModule, "global_step", 7)
    optimizer: Any = None
    for parameter in module.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    module.configure_gradient_clipping(optimizer)
    norm = torch.stack([p.grad.norm() for p in module.model.parameters() if p.grad is not None]).norm()
    assert float(norm) == pytest.approx(module.optim.clip_norm, rel=1e-4)
    weight = next(module.model.parameters())
    assert weight.grad is not None
    weight.grad[0] = float("inf")
    with pytest.raises(TrainingError, match=r"^epoch 3 step 7: a gradient is not finite"):
        module.configure_gradient_clipping(optimizer)


def test_a_loss_that_is_not_finite_names_epoch_and_batch(
    toy_config: RunConfig, toy_cases: Sequence[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    from medfuse.training import module as module_file
    from medfuse.training.parts import split_cases

    calls: list[bool] = []

    def turns_nan(output: Any, *args: Any, **options: Any) -> dict[str, torch.Tensor]:
        losses = study_loss(output, *args, **options)
        calls.append(torch.is_grad_enabled())
        return {**losses, "total": losses["total"] * (float("nan") if calls.count(True) == n_batches + 2 else 1.0)}

    parts = split_cases(toy_cases, toy_config.data, seed=0)
    n_batches = len(parts.train) // toy_config.optim.batch_size
    monkeypatch.setattr(module_file, "study_loss", turns_nan)
    with pytest.raises(TrainingError, match=r"^epoch 1 batch 1: the loss is not finite"):
        fit(toy_config, train=parts.train, validation=parts.validation)


def test_learnt_task_weights_move_and_are_neither_decayed_nor_saved_with_the_model(
    toy_config: RunConfig, module: ClassifierModule, batch: Batch
) -> None:
    assert not list(module.uncertain.parameters())
    losses = {"malignancy": TargetLoss(module.targets[0], LossConfig())}
    optim = toy_config.optim.model_copy(update={"task_weighting": "uncertainty"})
    learning = ClassifierModule(module.model, losses=losses, attributes={}, optim=optim, steps=10)
    learning.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign,assignment]
    [optimizer] = [learning.configure_optimizers()["optimizer"]]
    [weight] = learning.uncertain.parameters()
    [group] = [g for g in optimizer.param_groups if any(p is weight for p in g["params"])]
    assert group["weight_decay"] == 0
    torch.autograd.backward(learning.training_step(batch, 0))
    optimizer.step()
    assert weight.item() != 0
    assert not any("log_variance" in name for name in learning.model.state_dict())


def test_a_training_with_learnt_task_weights_goes_through(toy_config: RunConfig, toy_cases: Sequence[Case]) -> None:
    parts = split_cases(toy_cases, toy_config.data, seed=0)
    optim = toy_config.optim.model_copy(update={"task_weighting": "uncertainty", "epochs": 2})
    done = fit(toy_config.model_copy(update={"optim": optim}), train=parts.train, validation=parts.validation)
    assert len(done.history) == 2
