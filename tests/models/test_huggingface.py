from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from medfuse.errors import ConfigError
from medfuse.models.huggingface import OWN_IDS, HuggingFaceEncoder
from medfuse.models.precision import train_in
from medfuse.text import PretrainedTokenizer
from medfuse.text.pretrained_tokens import OWN_IDS as IDS_OF_TOKENIZER
from medfuse.text.tokens import UNKNOWN_ID

TEXT = "FINDINGS: A 9 mm spiculated nodule in the right upper lobe. No pneumothorax, no pleural effusion."


def build(folder: Path, **options: Any) -> HuggingFaceEncoder:
    return HuggingFaceEncoder(20, model_name_or_path=str(folder), **options)


def ids_of(folder: Path, text: str) -> torch.Tensor:
    tokenizer = PretrainedTokenizer.from_json(HuggingFaceEncoder.tokenizer_json({"model_name_or_path": str(folder)}))
    return torch.tensor([tokenizer.encode(text, max_length=10_000).ids])


def everywhere(ids: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(ids, dtype=torch.bool)


def features(encoder: HuggingFaceEncoder, ids: torch.Tensor) -> torch.Tensor:
    return encoder(encoder.embed(ids), everywhere(ids))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_tokenizer_and_encoder_count_their_own_ids_alike() -> None:
    assert OWN_IDS == IDS_OF_TOKENIZER


def test_a_real_model_gives_the_states_that_transformers_gives(minilm_folder: Path, no_network: None) -> None:
    from transformers import BertModel, BertTokenizer

    encoder = HuggingFaceEncoder(30_524, model_name_or_path=str(minilm_folder)).eval()
    ids = ids_of(minilm_folder, TEXT)
    found = encoder.token_states(encoder.embed(ids), everywhere(ids))
    published = BertModel(encoder.encoder.config).eval()
    from safetensors.torch import load_file

    published.load_state_dict(load_file(minilm_folder / "model.safetensors"), strict=False)
    given = BertTokenizer.from_pretrained(minilm_folder)(TEXT, return_tensors="pt")
    with torch.no_grad():
        expected = published(**given).last_hidden_state[:, 1:-1]
    torch.testing.assert_close(found, expected, rtol=0.0, atol=2e-5)
    torch.testing.assert_close(features(encoder, ids), expected.mean(dim=1), rtol=0.0, atol=2e-5)


def test_pooling_cls_is_the_state_of_the_first_special_token(encoder_folder: Path) -> None:
    encoder = build(encoder_folder, pooling="cls", chunk_length=20).eval()
    ids = ids_of(encoder_folder, "a spiculated nodule")
    before, after = encoder.architecture.before, encoder.architecture.after
    whole = torch.tensor([[*before, *(ids[0] - OWN_IDS).tolist(), *after]])
    expected = encoder.encoder(input_ids=whole).last_hidden_state[:, 0]
    torch.testing.assert_close(features(encoder, ids), expected)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_long_report_is_the_mean_of_its_chunks_by_their_length(encoder_folder: Path, pooling: str) -> None:
    encoder = build(encoder_folder, pooling=pooling, chunk_length=10).eval()
    ids = ids_of(encoder_folder, "a nodule with spiculated margin in the right upper lobe " * 3)
    parts = ids.split(8, dim=1)
    assert len(parts) == 4
    weights = [part.shape[1] / ids.shape[1] for part in parts]
    expected = sum(w * features(encoder, part) for w, part in zip(weights, parts, strict=True))
    torch.testing.assert_close(features(encoder, ids), expected)


def test_a_report_beyond_the_model_s_positions_is_read_to_its_end(encoder_folder: Path) -> None:
    encoder = build(encoder_folder, chunk_length=20).eval()
    long = ids_of(encoder_folder, "no nodule in the lobe " * 200)
    other = torch.cat([long[:, :-1], ids_of(encoder_folder, "spiculated")], dim=1)
    assert long.shape[1] > 20 * 20
    assert not torch.equal(features(encoder, long), features(encoder, other))


def test_frozen_weights_neither_train_nor_drop_out_yet_tokens_get_a_gradient(encoder_folder: Path) -> None:
    encoder = build(encoder_folder, chunk_length=8).train()
    assert encoder.training
    assert not any(module.training for module in encoder.encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    ids = ids_of(encoder_folder, "a nodule with spiculated margin in the lobe")
    assert not features(encoder, ids).requires_grad
    embedded = encoder.embed(ids).requires_grad_()
    encoder(embedded, everywhere(ids)).square().sum().backward()
    assert bool((embedded.grad.abs().sum(dim=2) > 0).all())


def test_trainable_weights_train_and_drop_out(encoder_folder: Path) -> None:
    encoder = build(encoder_folder, trainable=True, chunk_length=8).train()
    ids = ids_of(encoder_folder, "a nodule")
    assert not torch.equal(features(encoder, ids), features(encoder, ids))
    features(encoder, ids).square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_a_hidden_word_is_the_model_s_own_mask(encoder_folder: Path) -> None:
    encoder = build(encoder_folder, chunk_length=8)
    hidden = encoder.embed(torch.tensor([[UNKNOWN_ID]]))
    assert torch.equal(hidden[0, 0], encoder.encoder.get_input_embeddings().weight[4])


def test_saved_options_rebuild_the_encoder_without_its_folder(encoder_folder: Path, no_network: None) -> None:
    options = {"name": "huggingface", "model_name_or_path": str(encoder_folder), "pooling": "cls", "chunk_length": 8}
    encoder = build(encoder_folder, pooling="cls", chunk_length=8).eval()
    saved = encoder.saved_options(options)
    assert str(encoder_folder.parent) not in str(saved)
    again = HuggingFaceEncoder(20, **{k: v for k, v in saved.items() if k != "name"}).eval()
    assert again.saved_options(saved) == saved
    again.load_state_dict(encoder.state_dict())
    ids = ids_of(encoder_folder, "a nodule with spiculated margin in the lobe")
    assert torch.equal(features(encoder, ids), features(again, ids))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "max"}, r"pooling: found 'max'; expected 'mean' or 'cls'"),
        ({"chunk_length": 21}, r"chunk_length: found 21; expected 3 or up to 20; longer reports are read in chunks"),
        ({"chunk_length": 8, "learning_rate": 0.0}, r"learning_rate: found 0.0; expected a number above 0"),
        ({"adapter_rank": -1}, r"adapter_rank: found -1 with trainable: false"),
        ({"adapter_rank": 4, "trainable": True}, r"adapter_rank: found 4 with trainable: true; expected 0, or above"),
        ({"chunk_length": 2}, r"chunk_length: found 2; expected"),
        ({"chunk_length": 8, "architecture": {"config": {}}}, r"architecture: found a missing or wrong value"),
        ({"chunk_length": 8, "revision": "main"}, r"revision: found one beside a folder"),
    ],
)
def test_a_wrong_option_is_named(encoder_folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(encoder_folder, **options)


def test_a_tokenizer_of_another_model_is_refused(encoder_folder: Path) -> None:
    with pytest.raises(ConfigError, match="its tokenizer has ids above those of its 29 words"):
        HuggingFaceEncoder(32, model_name_or_path=str(encoder_folder), chunk_length=8)


def counted(encoder: HuggingFaceEncoder) -> list[int]:
    """Return a list that grows by the texts that the pretrained model reads."""
    seen: list[int] = []
    encoder.encoder.register_forward_hook(lambda module, given, result: seen.append(len(result.last_hidden_state)))
    return seen


def test_a_text_is_read_once_where_the_weights_never_change(encoder_folder: Path) -> None:
    encoder = build(encoder_folder, chunk_length=20).train()
    ids = torch.tensor([[2, 3, 4, 5], [6, 7, 0, 0], [2, 3, 4, 5]])
    expected = encoder(encoder.embed(ids), ids > 0)
    seen = counted(encoder)
    first, second = encoder.read(ids, ids > 0), encoder.eval().read(ids[:, :2].flip(0)[1:2], ids[1:2, :2] > 0)
    torch.testing.assert_close(first, expected, atol=1e-6, rtol=1e-5)
    assert torch.equal(second[0], first[1]), "padding and neighbours change what is kept"
    assert seen == [1, 1]


def test_kept_texts_are_read_anew_by_other_weights_and_forgotten_in_turn(
    encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medfuse.models.huggingface.KEPT", 2)
    encoder = build(encoder_folder, chunk_length=20).eval()
    ids = torch.tensor([[2, 3], [4, 5], [6, 7]])
    before, seen = encoder.read(ids, ids > 0), counted(encoder)
    assert torch.equal(encoder.read(ids[2:], ids[2:] > 0), before[2:]) and seen == []
    assert torch.equal(encoder.read(ids[:1], ids[:1] > 0), before[:1]) and seen == [1]
    encoder.load_state_dict({name: tensor * 1.5 for name, tensor in encoder.state_dict().items()})
    assert not torch.allclose(encoder.read(ids, ids > 0), before)


def test_trained_weights_are_read_each_time_and_in_bfloat16_if_asked(encoder_folder: Path) -> None:
    torch.manual_seed(0)
    encoder = build(encoder_folder, trainable=True, chunk_length=20).eval()
    ids = torch.randint(2, 18, (4, 12))
    expected, seen = encoder.read(ids, ids > 0), counted(encoder)
    train_in(encoder, torch.bfloat16)
    assert torch.equal(encoder.read(ids, ids > 0), expected) and seen == [4]
    for part in encoder.train().encoder.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    found = encoder.read(ids, ids > 0)
    assert found.dtype == torch.float32 and not torch.equal(found, expected)
    assert float(torch.nn.functional.cosine_similarity(found, expected).detach().min()) > 0.999


def test_adapters_start_as_the_model_and_alone_learn(encoder_folder: Path) -> None:
    plain, encoder = (
        build(encoder_folder, chunk_length=20).eval(),
        build(encoder_folder, chunk_length=20, adapter_rank=2).eval(),
    )
    ids = ids_of(encoder_folder, TEXT)
    torch.testing.assert_close(features(encoder, ids), features(plain, ids))
    trained = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    assert {name.rpartition(".")[2] for name in trained} == {"narrow", "widen"}
    assert {name.split(".")[-2] for name in trained} == {"query", "value"}
    assert encoder.learning_rate == 5e-4
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.01)
    encoder.train().read(ids, everywhere(ids)).square().sum().backward()
    optimizer.step()
    encoder.eval()
    assert not torch.allclose(encoder.read(ids, everywhere(ids)), features(plain, ids))
    before = plain.state_dict()
    after = {name: t for name, t in encoder.state_dict().items() if name.rpartition(".")[2] not in ("narrow", "widen")}
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_adapters_are_saved_with_the_model(encoder_folder: Path) -> None:
    encoder = build(encoder_folder, chunk_length=20, adapter_rank=2).eval()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if name.endswith("widen"):
                parameter.normal_()
    options = encoder.saved_options({"model_name_or_path": str(encoder_folder), "chunk_length": 20, "adapter_rank": 2})
    again = HuggingFaceEncoder(20, **options).eval()
    again.load_state_dict(encoder.state_dict())
    ids = ids_of(encoder_folder, TEXT)
    assert torch.equal(features(again, ids), features(encoder, ids))
