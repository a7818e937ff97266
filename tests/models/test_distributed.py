"""Two gloo processes against one: the same batches, the same weights after some steps."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from medfuse.config import LossConfig, ModelConfig, OptimConfig
from medfuse.models import StudyClassifier, TargetLoss, build_model, study_loss
from medfuse.models.distributed import gather_output, gather_rows, global_sum
from medfuse.models.dropout import Dropout
from medfuse.models.norms import BatchNorm, RunningNorm
from medfuse.tensors import Batch
from medfuse.types import CaseId, Target

TARGETS = (
    Target("malignancy", "binary", ("negative", "positive")),
    Target("texture", "multiclass", ("solid", "part-solid", "ground glass")),
)
BATCH, STEPS, WORLD = 8, 4, 2
ENCODERS: dict[str, dict[str, Any]] = {
    "shape_cnn": {"name": "shape_cnn", "widths": [4, 8], "features_dropout": 0.5},
    "resnet18": {"name": "resnet18", "width": 4},
}
TEXTS: dict[str, dict[str, Any]] = {
    "word_cnn": {"name": "word_cnn", "token_size": 8, "n_phrases": 4},
    "gru": {"name": "gru", "token_size": 8, "hidden_size": 4},
}


FUSIONS: dict[str, str] = {"resnet18": "cross_attention", "shape_cnn": "concatenation"}


# Those that read labels, local features, or more of the batch than a pair.
ALIGNERS = ("adversarial", "deep_cca", "global_local", "supervised_contrastive")


def make_model(image: str, text: str, aligner: str) -> StudyClassifier:
    torch.manual_seed(0)
    config = ModelConfig.model_validate(
        {
            "embedding_size": 8,
            "image_encoder": ENCODERS[image],
            "text_encoder": TEXTS[text],
            "fusion": {"name": FUSIONS[image]},
            "aligner": {"name": aligner},
            "modality_dropout": 0.5,
        }
    )
    return build_model(config, targets=TARGETS, in_channels=1, image_size=(16, 16, 16), vocabulary_size=20)


def make_images(draw: torch.Generator) -> torch.Tensor:
    grid = torch.stack(torch.meshgrid(*[torch.arange(16.0) - 7.5] * 3, indexing="ij"))
    radius = 2 + 5 * torch.rand(BATCH, 1, 1, 1, 1, generator=draw)
    balls = (radius + 0.5 - grid.norm(dim=0)).clamp(0, 1)
    return balls * (0.5 + 0.5 * torch.rand(BATCH, 1, 16, 16, 16, generator=draw))


def make_batch(step: int) -> Batch:
    """Make a batch of different lengths and gaps; in one step the second process has no text, in one no image."""
    draw = torch.Generator().manual_seed(step)
    mask = torch.arange(6) < torch.randint(1, 7, (BATCH, 1), generator=draw)
    present = torch.rand(BATCH, 2, generator=draw) < 0.8
    present[0] = True
    if step in (1, 2):
        present[BATCH // 2 :, step % 2] = False
    return Batch(
        cases=tuple(CaseId(f"S{row}", "1") for row in range(BATCH)),
        modalities=("image", "text"),
        image=make_images(draw),
        token_ids=torch.randint(2, 20, (BATCH, 6), generator=draw) * mask,
        token_mask=mask,
        flags=torch.zeros(BATCH, 0),
        present=present,
        targets={"malignancy": torch.arange(BATCH) % 2, "texture": torch.arange(BATCH) % 3},
        target_mask={name: torch.rand(BATCH, generator=draw) < 0.7 for name in ("malignancy", "texture")},
    )


def share(batch: Batch, rank: int, world: int) -> Batch:
    part = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
    longest = max(int(batch.token_mask[part].sum(dim=1).max()), 1)
    return replace(
        batch,
        cases=batch.cases[part],
        image=batch.image[part],
        token_ids=batch.token_ids[part, :longest],
        token_mask=batch.token_mask[part, :longest],
        flags=batch.flags[part],
        present=batch.present[part],
        targets={name: labels[part] for name, labels in batch.targets.items()},
        target_mask={name: known[part] for name, known in batch.target_mask.items()},
    )


def train(
    image: str, text: str, dtype: torch.dtype, *, aligner: str = "infonce", rank: int = 0, world: int = 1
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    model = make_model(image, text, aligner).train().to(dtype)
    wrapped = DistributedDataParallel(model, forward_sync_buffers=False) if world > 1 else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = {target.name: TargetLoss(target, LossConfig()) for target in TARGETS}
    course = []
    for step in range(STEPS):
        torch.manual_seed(1000 + step)
        batch = share(make_batch(step), rank, world)
        batch = replace(batch, image=batch.image.to(dtype), flags=batch.flags.to(dtype))
        output, labels = gather_output(wrapped(batch), batch)
        parts = study_loss(output, labels, targets=losses, attributes={}, optim=OptimConfig(), aligner=model.aligner)
        optimizer.zero_grad()
        parts["total"].backward()
        optimizer.step()
        course.append(parts["total"].detach())
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}, torch.stack(course)


def train_beside(rank: int, folder: str, image: str, text: str, dtype: torch.dtype) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    torch.save(train(image, text, dtype, rank=rank, world=WORLD), f"{folder}/{rank}.pt")
    dist.barrier()  # none leaves while another still listens
    dist.destroy_process_group()


def in_two_processes(work: Any, *arguments: object) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(rank, *arguments)) for rank in range(WORLD)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0]


@pytest.mark.parametrize(("image", "text"), [("shape_cnn", "word_cnn"), ("resnet18", "gru")])
def test_two_processes_train_the_weights_of_one(tmp_path: Path, image: str, text: str) -> None:
    # In double precision: Adam turns the rounding of a gradient that is nearly zero into a whole step.
    in_two_processes(train_beside, str(tmp_path), image, text, torch.float64)
    alone, _ = train(image, text, torch.float64)
    for rank in range(WORLD):
        weights, _ = torch.load(tmp_path / f"{rank}.pt")
        for name, tensor in alone.items():
            torch.testing.assert_close(weights[name], tensor, atol=1e-5, rtol=1e-5)


def align_beside(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    for name in ALIGNERS:
        trained = train("shape_cnn", "word_cnn", torch.float64, aligner=name, rank=rank, world=WORLD)
        torch.save(trained, f"{folder}/{name}.{rank}.pt")
    dist.barrier()  # none leaves while another still listens
    dist.destroy_process_group()


def test_two_processes_align_the_whole_batch_as_one_does(tmp_path: Path) -> None:
    in_two_processes(align_beside, str(tmp_path))
    for name in ALIGNERS:
        alone, losses = train("shape_cnn", "word_cnn", torch.float64, aligner=name)
        weights, course = torch.load(tmp_path / f"{name}.1.pt")
        torch.testing.assert_close(course, losses, atol=1e-6, rtol=1e-6)
        for parameter, tensor in alone.items():
            torch.testing.assert_close(weights[parameter], tensor, atol=1e-5, rtol=1e-5)


def test_two_processes_follow_the_losses_of_one_in_single_precision(tmp_path: Path) -> None:
    in_two_processes(train_beside, str(tmp_path), "shape_cnn", "word_cnn", torch.float32)
    _, alone = train("shape_cnn", "word_cnn", torch.float32)
    for rank in range(WORLD):
        _, course = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(course, alone, atol=1e-5, rtol=1e-5)


def check_pieces(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    values = torch.arange(12.0).reshape(4, 3).requires_grad_()
    mine = values[2 * rank : 2 * rank + 2]
    assert torch.equal(gather_rows(mine), values)
    assert torch.equal(gather_rows(mine > 4), values > 4)
    assert torch.equal(global_sum(mine.sum(dim=0)), values.sum(dim=0))
    torch.testing.assert_close(BatchNorm(3)(mine), torch.nn.BatchNorm1d(3)(values)[2 * rank : 2 * rank + 2])
    norm = RunningNorm(3)
    norm(mine.detach())
    assert norm.count == 4
    torch.testing.assert_close(norm.mean, values.detach().mean(dim=0))
    torch.manual_seed(0)
    kept = Dropout(0.5)(torch.ones(2, 50))
    assert float((gather_rows(kept)[:2] != gather_rows(kept)[2:]).float().mean()) > 0.2
    dist.barrier()  # none leaves while another still listens
    dist.destroy_process_group()


def test_rows_sums_and_norms_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    in_two_processes(check_pieces, str(tmp_path))


def test_alone_everything_gives_its_argument_back() -> None:
    values = torch.rand(3, 2)
    assert gather_rows(values) is values
    assert global_sum(values) is values
