from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from medfuse.config import LossConfig, ModelConfig, OptimConfig
from medfuse.models import TargetLoss, build_model, study_loss
from medfuse.models.chunks import _joined, _rows, forward_in_chunks
from medfuse.models.distributed import gather_output
from medfuse.tensors import Batch, ModelOutput
from medfuse.types import Target

TARGET = Target("malignancy", "binary", ("negative", "positive"))
BOTH, IMAGE, TEXT = (True, True), (True, False), (False, True)
# Every piece has two images: of one alone batch norm takes its running statistics, which the pieces after it would
# change under the graph that keeps everything.
PRESENT = [BOTH, IMAGE, BOTH, TEXT, BOTH, BOTH, BOTH, BOTH, TEXT]
LINEAR = {"name": "linear"}
OPTIONS: dict[str, dict[str, Any]] = {
    "infonce": {"aligner": {"name": "infonce"}},
    "global_local": {"aligner": {"name": "global_local"}},
    "running norm": {"image_encoder": {"name": "shape_cnn", "widths": [4, 8], "features_dropout": 0.5}},
}


def loss_of(model: Any, output: ModelOutput, batch: Batch) -> torch.Tensor:
    losses = {TARGET.name: TargetLoss(TARGET, LossConfig())}
    return study_loss(
        output, batch, targets=losses, attributes={}, optim=OptimConfig(aligner_weight=1.0), aligner=model.aligner
    )["total"]


def step(model: Any, batch: Batch, forward: Any) -> tuple[float, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    torch.manual_seed(7)
    loss = loss_of(model, forward(model, batch), batch)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return float(loss.detach()), gradients, dict(model.named_buffers())


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("n_chunks", [2, 3])
def test_encoding_twice_gives_what_keeping_everything_gives(make_model, make_batch, options, n_chunks):
    batch = make_batch(PRESENT)

    def keeping_everything(model: Any, batch: Batch) -> ModelOutput:
        return _joined([model(_rows(batch, rows)) for rows in torch.arange(9).tensor_split(n_chunks)])

    kept, twice = (make_model(modality_dropout=0.5, **options).train() for _ in range(2))
    expected = step(kept, batch, keeping_everything)
    found = step(twice, batch, lambda model, batch: forward_in_chunks(model, batch, n_chunks))
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-5, atol=1e-7)
    for name, buffer in expected[2].items():  # running statistics are counted once
        torch.testing.assert_close(found[2][name], buffer)


def test_the_contrast_is_that_of_the_whole_batch(make_model, make_batch):
    """Without batch norm and dropout, which see a piece, gradients are those of one pass over all cases."""
    text = {"text_encoder": {"name": "word_cnn", "token_size": 8, "n_phrases": 4, "dropout": 0.0}, "head": LINEAR}
    batch = make_batch(PRESENT)
    whole, pieces = (make_model(modality_dropout=0.0, **text).train() for _ in range(2))
    for model in (whole, pieces):
        model.encoders["image"].eval()
    expected = step(whole, batch, lambda model, batch: model(batch))
    found = step(pieces, batch, lambda model, batch: forward_in_chunks(model, batch, 3))
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-6)


def test_activations_are_not_held(make_model, make_batch):
    def held(n_chunks: int) -> int:
        n_bytes = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal n_bytes
            n_bytes += tensor.nbytes
            return tensor

        model, batch = make_model().train(), make_batch([(True, True)] * 16)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            forward_in_chunks(model, batch, n_chunks)
        return n_bytes

    assert held(4) < held(1) / 20


@pytest.mark.parametrize("n_chunks", [1, 5])
def test_too_few_cases_are_encoded_at_once(make_model, make_batch, n_chunks):
    model, batch = make_model().eval(), make_batch(PRESENT[:3])
    assert torch.equal(forward_in_chunks(model, batch, n_chunks).logits["texture"], model(batch).logits["texture"])


def test_without_gradients_it_is_the_same_answer(make_model, make_batch):
    model, batch = make_model().eval(), make_batch(PRESENT)
    with torch.no_grad():
        found = forward_in_chunks(model, batch, 3).logits["texture"]
        torch.testing.assert_close(found, model(batch).logits["texture"], rtol=1e-5, atol=1e-6)


def encode_beside(rank: int, folder: str, batches: list[Batch]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    gradients = []
    for n_chunks in (0, 2):
        torch.manual_seed(0)
        config = ModelConfig.model_validate(
            {"embedding_size": 8, "image_encoder": {"name": "small_cnn", "widths": [4]}}
        )
        model = build_model(config, targets=[TARGET], in_channels=1, image_size=(8, 8, 8), vocabulary_size=20)
        pieces = [_rows(batches[rank], rows) for rows in torch.arange(8).tensor_split(2)]
        output = forward_in_chunks(model, batches[rank], 2) if n_chunks else _joined([model(p) for p in pieces])
        loss_of(model, *gather_output(output, batches[rank])).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    torch.save(gradients, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_encode_their_pieces_twice_in_step(make_batch, tmp_path: Path):
    batches = [make_batch([BOTH, BOTH, BOTH, IMAGE, BOTH, TEXT, BOTH, BOTH], seed=rank) for rank in range(2)]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=encode_beside, args=(rank, str(tmp_path), batches)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0]
    for rank in range(2):
        kept, twice = torch.load(tmp_path / f"{rank}.pt")
        for name, gradient in kept.items():
            torch.testing.assert_close(twice[name], gradient, rtol=1e-4, atol=1e-6)
