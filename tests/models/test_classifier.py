from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch.nn import functional as F

from medfuse.errors import UsageError
from medfuse.models import StudyClassifier
from medfuse.tensors import Batch, Sample

BOTH, IMAGE, TEXT, NONE = (True, True), (True, False), (False, True), (False, False)
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def rows(batch: Batch, chosen: list[int]) -> Batch:
    return replace(
        batch,
        cases=tuple(batch.cases[row] for row in chosen),
        image=batch.image[chosen],
        token_ids=batch.token_ids[chosen],
        token_mask=batch.token_mask[chosen],
        flags=batch.flags[chosen],
        present=batch.present[chosen],
    )


def with_garbage(batch: Batch, seed: int) -> Batch:
    """Fill the slots of absent modalities with anything."""
    draw = torch.Generator().manual_seed(seed)
    has_image, has_text = batch.present[:, 0, None, None, None, None], batch.present[:, 1, None]
    wild = torch.randn(batch.image.shape, generator=draw) * 1e4
    wild[torch.rand(wild.shape, generator=draw) < 0.1] = float("nan")
    ids = torch.randint(0, 20, batch.token_ids.shape, generator=draw)
    mask = torch.rand(ids.shape, generator=draw) < 0.5
    return replace(
        batch,
        image=torch.where(has_image, batch.image, wild),
        token_ids=torch.where(has_text, batch.token_ids, ids),
        token_mask=torch.where(has_text, batch.token_mask, mask),
    )


@pytest.mark.parametrize("modalities", [("image",), ("text",), ("image", "text"), ("text", "image")])
def test_output_has_logits_by_target_and_embeddings_of_unit_length(make_model, make_batch, modalities):
    output = make_model(*modalities).eval()(make_batch([(True,) * len(modalities)] * 4, modalities=modalities))
    assert {name: tuple(t.shape) for name, t in output.logits.items()} == {"malignancy": (4, 1), "texture": (4, 3)}
    assert tuple(output.embeddings) == modalities
    for embedding in output.embeddings.values():
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(4))
    assert output.auxiliary == {}


def test_a_case_may_lack_either_modality_or_both(make_model, make_batch):
    output = make_model().eval()(make_batch([BOTH, IMAGE, TEXT, NONE]))
    assert all(torch.isfinite(logits).all() for logits in output.logits.values())
    assert output.embeddings["text"].norm(dim=1).round(decimals=4).tolist() == [1, 0, 1, 0]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    present=st.lists(st.sampled_from([BOTH, IMAGE, TEXT]), min_size=2, max_size=5),
    seed=st.integers(0, 2**31),
    training=st.booleans(),
)
def test_what_stands_in_an_absent_modality_changes_nothing(make_model, make_batch, present, seed, training):
    clean, dirty = make_model(modality_dropout=0.5).train(training), make_model(modality_dropout=0.5).train(training)
    batch = make_batch(present)
    torch.manual_seed(seed)
    expected = clean(batch)
    torch.manual_seed(seed)
    found = dirty(with_garbage(batch, seed))
    for name in expected.logits:
        torch.testing.assert_close(found.logits[name], expected.logits[name], **TOLERANCE)
    for name, tensor in clean.state_dict().items():  # batch norm has learned nothing from it either
        torch.testing.assert_close(dirty.state_dict()[name], tensor, **TOLERANCE)


def test_garbage_in_an_absent_modality_leaves_gradients_alone(make_model, make_batch):
    batch = make_batch([BOTH, IMAGE, TEXT, BOTH])
    gradients = []
    for each in (batch, with_garbage(batch, 1)):
        model = make_model().eval()
        sum(logits.sum() for logits in model(each).logits.values()).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, **TOLERANCE)


def test_a_batch_of_one_equals_its_row_of_a_batch(make_model, make_batch):
    model, batch = make_model().eval(), make_batch([BOTH, IMAGE, TEXT, BOTH, NONE])
    together = model(batch).logits
    for row in range(5):
        alone = model(rows(batch, [row])).logits
        for name in together:
            torch.testing.assert_close(alone[name][0], together[name][row], **TOLERANCE)


def test_only_equals_a_batch_without_the_other_modality(make_model, make_batch):
    model, batch = make_model().eval(), make_batch([BOTH, BOTH])
    zeroed = replace(batch, image=torch.zeros_like(batch.image), present=torch.tensor([TEXT, TEXT]))
    torch.testing.assert_close(model(batch.only("text")).logits, model(zeroed).logits)


def test_forward_equals_forward_from_embedded_tokens(make_model, make_batch):
    model, batch = make_model().eval(), make_batch([BOTH, IMAGE, TEXT])
    output = model.forward_embedded(batch, model.embed(batch.token_ids))
    assert torch.equal(output.logits["malignancy"], model(batch).logits["malignancy"])


def test_saliency_reaches_voxels_and_embedded_tokens(make_model, make_batch):
    model, batch = make_model().eval(), make_batch([BOTH, BOTH])
    image, embedded = batch.image.requires_grad_(), model.embed(batch.token_ids).detach().requires_grad_()
    model.forward_embedded(batch, embedded).logits["malignancy"].sum().backward()
    assert (image.grad.abs().sum(dim=(1, 2, 3, 4)) > 0).all()
    assert torch.equal(embedded.grad.abs().sum(dim=2) > 0, batch.token_mask)


def test_embedded_tokens_may_be_left_out_where_no_case_has_text(make_model, make_batch):
    model, batch = make_model().eval(), make_batch([IMAGE, IMAGE])
    assert torch.equal(model.forward_embedded(batch, None).logits["texture"], model(batch).logits["texture"])
    with pytest.raises(UsageError, match="text without embedded tokens"):
        model.forward_embedded(make_batch([BOTH, IMAGE]), None)


def test_a_batch_of_other_modalities_is_refused(make_model, make_batch):
    batch = make_batch([BOTH], modalities=("text", "image"))
    with pytest.raises(UsageError, match=r"found modalities \['text', 'image'\]; expected \['image', 'text'\]"):
        make_model()(batch)


def test_single_modality_logits_come_in_training_only(make_model, make_batch):
    model, batch = make_model(), make_batch([BOTH] * 4)
    auxiliary = model.train()(batch).auxiliary
    assert {m: set(logits) for m, logits in auxiliary.items()} == {
        "image": {"malignancy", "texture"},
        "text": {"malignancy", "texture"},
    }
    assert model.eval()(batch).auxiliary == {}
    assert make_model("image").train()(make_batch([(True,)] * 4, modalities=("image",))).auxiliary == {}


@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_modality_dropout_takes_its_share_and_never_the_last(make_model, chance):
    model = make_model(modality_dropout=chance)
    present = torch.tensor([BOTH, IMAGE, TEXT, NONE] * 1000)
    torch.manual_seed(0)
    seen = model._drop_modalities(present)
    assert not (seen & ~present).any()
    assert torch.equal(seen.any(dim=1), present.any(dim=1))
    both = seen[present.all(dim=1)]
    assert (~both).any(dim=1).float().mean() == pytest.approx(chance, abs=0.05)
    assert (~both).float().mean(dim=0).tolist() == pytest.approx([chance / 2] * 2, abs=0.05)


def test_modality_dropout_is_off_in_eval_and_spares_alignment(make_model, make_batch):
    model, batch = make_model(modality_dropout=1.0), make_batch([BOTH] * 4)
    without = make_model(modality_dropout=0.0)
    assert torch.equal(model.eval()(batch).logits["malignancy"], without.eval()(batch).logits["malignancy"])
    assert model.train()(batch).present.all()


def test_a_gradient_reaches_every_parameter_in_training(make_model, make_batch):
    model = make_model(modality_dropout=0.5).train()
    torch.manual_seed(0)
    output = model(make_batch([BOTH, IMAGE, TEXT, BOTH] * 4))
    everything = [*output.logits.values(), *(t for alone in output.auxiliary.values() for t in alone.values())]
    (sum((t**2).sum() for t in everything) + model.aligner(output.embeddings, output.present)).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


def test_it_survives_safetensors_bit_by_bit(make_model, make_batch):
    model, batch = make_model(), make_batch([BOTH, IMAGE, TEXT, BOTH])
    model.train()(batch)
    other = make_model()
    other.load_state_dict(load(save({name: t.contiguous() for name, t in model.state_dict().items()})))
    assert torch.equal(other.eval()(batch).logits["texture"], model.eval()(batch).logits["texture"])


def planted(modalities: tuple[str, ...], *, n: int, seed: int) -> Batch:
    """Positive is: a bright centre (image), the word 7 (text), or, with both, the two together.

    With both, an answer from one alone is right in three cases of four at most.
    """
    draw = torch.Generator().manual_seed(seed)
    bright, word = torch.arange(n) % 2 == 0, torch.arange(n) // 2 % 2 == 0
    image = torch.randn(n, 1, 8, 8, 8, generator=draw) * 0.3
    image[:, :, 2:6, 2:6, 2:6] += 1.5 * bright[:, None, None, None, None]
    token_ids = torch.randint(8, 20, (n, 6), generator=draw)
    token_ids[word, 3] = 7
    label = {("image",): bright, ("text",): word}.get(modalities, bright & word)
    return Batch(
        cases=(),
        modalities=modalities,
        image=image,
        token_ids=token_ids,
        token_mask=torch.ones(n, 6, dtype=torch.bool),
        flags=torch.zeros(n, 0),
        present=torch.ones(n, len(modalities), dtype=torch.bool),
        targets={"malignancy": label.long()},
    )


def accuracy(model: StudyClassifier, batch: Batch) -> float:
    called = model(batch).logits["malignancy"][:, 0] > 0
    return float((called == batch.targets["malignancy"].bool()).float().mean())


@pytest.mark.parametrize("modalities", [("image",), ("text",), ("image", "text")])
def test_it_learns_a_planted_rule_that_holds_on_unseen_cases(make_model, modalities):
    model, batch = make_model(*modalities, modality_dropout=0.0).train(), planted(modalities, n=128, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    labels = batch.targets["malignancy"].float()
    for _ in range(120):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(batch).logits["malignancy"][:, 0], labels).backward()
        optimizer.step()
    model.eval()
    assert accuracy(model, batch) > 0.9
    assert accuracy(model, planted(modalities, n=256, seed=1)) > (0.8 if len(modalities) > 1 else 0.9)


def test_what_was_described_before_gives_the_same_answers(make_model, make_batch):
    model = make_model(image_encoder={"name": "shape_cnn", "widths": [4, 8]}).eval()
    batch = make_batch([BOTH, IMAGE, TEXT])
    samples = [
        Sample(case, image=image if row < 2 else None, token_ids=tokens[:1])
        for row, (case, image, tokens) in enumerate(zip(batch.cases, batch.image, batch.token_ids, strict=True))
    ]
    known = model.describe_images(samples)
    assert known.shape[0] == 3 and not known[2].any() and known[:2].any()
    found = model(replace(batch, image_features=known)).logits["malignancy"]
    torch.testing.assert_close(found, model(batch).logits["malignancy"], atol=1e-6, rtol=1e-6)
    other = model(replace(batch, image_features=known + 1)).logits["malignancy"]
    assert not torch.allclose(found[0], other[0])  # they are read, not made anew


def test_an_encoder_without_fixed_features_describes_nothing(make_model, make_batch):
    batch = make_batch([BOTH])
    samples = [Sample(batch.cases[0], image=batch.image[0])]
    assert make_model().describe_images(samples).shape == (1, 0)
    assert make_model("text").describe_images(samples).shape == (1, 0)


def test_a_part_that_no_case_needs_gets_a_gradient_of_zero(make_model, make_batch):
    model = make_model().train()
    output = model(make_batch([IMAGE, IMAGE]))
    output.logits["malignancy"].sum().backward()
    text = list(model.encoders["text"].parameters())
    assert all(weight.grad is not None and not weight.grad.any() for weight in text)
