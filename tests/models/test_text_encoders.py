from __future__ import annotations

import pytest
import torch

from medfuse.errors import ConfigError
from medfuse.models.recurrent_encoders import GruEncoder, LstmEncoder
from medfuse.models.text_encoder import TextEncoder
from medfuse.models.transformer_encoder import TransformerEncoder
from medfuse.models.word_encoders import BagEncoder, WordCnnEncoder


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("kind", [GruEncoder, LstmEncoder])
def test_features_equal_mean_and_maximum_of_a_plain_network_on_the_unpadded_report(kind, bidirectional):
    torch.manual_seed(0)
    encoder = kind(30, token_size=6, hidden_size=5, bidirectional=bidirectional).eval()
    lengths = [4, 9, 1]
    mask = torch.arange(9) < torch.tensor(lengths)[:, None]
    embedded = encoder.embed(torch.randint(1, 30, (3, 9)))
    features = encoder(embedded, mask)
    for row, length in enumerate(lengths):
        states, _ = encoder.recurrent()(embedded[row : row + 1, :length])
        expected = torch.cat([states[0].mean(dim=0), states[0].amax(dim=0)])
        torch.testing.assert_close(features[row], expected)


@pytest.mark.parametrize("kind", [BagEncoder, GruEncoder, LstmEncoder, TransformerEncoder, WordCnnEncoder])
def test_the_order_of_the_words_matters_to_all_but_a_bag(kind):
    torch.manual_seed(0)
    encoder: TextEncoder = kind(30).eval()
    ids = torch.tensor([[3, 4, 5, 6]])
    mask = torch.ones(1, 4, dtype=torch.bool)
    same = torch.allclose(encoder(encoder.embed(ids), mask), encoder(encoder.embed(ids.flip(1)), mask), atol=1e-5)
    assert same == (kind is BagEncoder)


def test_a_bag_is_the_mean_of_its_words():
    encoder = BagEncoder(30, token_size=5).eval()
    ids = torch.tensor([[3, 4, 4, 0], [5, 6, 7, 8], [9, 0, 0, 0]])
    expected = torch.nn.functional.embedding_bag(ids, encoder.embedding.weight, mode="mean", padding_idx=0)
    torch.testing.assert_close(encoder(encoder.embed(ids), ids > 0), expected)


def test_a_transformer_computes_what_that_of_torch_does_with_the_same_weights():
    torch.manual_seed(0)
    encoder = TransformerEncoder(30, token_size=8, n_layers=2, n_heads=2).eval()
    layer = torch.nn.TransformerEncoderLayer(
        8, 2, dim_feedforward=32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    other = torch.nn.TransformerEncoder(layer, 2, norm=torch.nn.LayerNorm(8), enable_nested_tensor=False).eval()
    with torch.no_grad():
        for own, its in zip(encoder.layers, other.layers, strict=True):
            attention = its.self_attn
            attention.in_proj_weight.copy_(torch.cat([own.query.weight, own.key.weight, own.value.weight]))
            attention.in_proj_bias.copy_(torch.cat([own.query.bias, torch.zeros(8), own.value.bias]))
            for mine, theirs in (
                (own.joined, attention.out_proj),
                (own.words[0], its.linear1),
                (own.words[2], its.linear2),
                (own.attention_norm, its.norm1),
                (own.word_norm, its.norm2),
            ):
                theirs.load_state_dict(mine.state_dict())
    ids = torch.tensor([[3, 4, 4, 5, 9], [5, 6, 7, 0, 0]])
    embedded, mask = encoder.embed(ids), ids > 0
    place = torch.arange(5)[:, None] / 10_000 ** (torch.arange(0, 8, 2) / 8)
    placed = embedded + torch.stack([place.sin(), place.cos()], dim=2).reshape(5, 8)
    expected = other(placed, src_key_padding_mask=~mask)
    torch.testing.assert_close(encoder.token_states(embedded, mask)[mask], expected[mask])
    torch.testing.assert_close(encoder(embedded, mask)[1], expected[1, :3].mean(dim=0))


@pytest.mark.parametrize(("token_size", "n_heads"), [(10, 4), (9, 3)])
def test_a_token_size_that_cannot_be_shared_out_is_refused(token_size, n_heads):
    with pytest.raises(ConfigError, match=rf"token_size: found {token_size}; expected an even multiple of n_heads"):
        TransformerEncoder(30, token_size=token_size, n_heads=n_heads)


def test_padding_is_embedded_as_zeros_and_stays_so_in_training():
    encoder = GruEncoder(30).train()
    optimizer = torch.optim.SGD(encoder.parameters(), lr=1.0)
    ids = torch.tensor([[3, 4, 0, 0]])
    encoder(encoder.embed(ids), ids > 0).sum().backward()
    optimizer.step()
    assert torch.equal(encoder.embed(torch.tensor([0])), torch.zeros(1, 64))


def test_a_phrase_is_scored_by_its_words_in_order_wherever_it_stands():
    encoder = WordCnnEncoder(30, token_size=2, lengths=(2,), n_phrases=1, dropout=0.0).eval()
    with torch.no_grad():
        encoder.embedding.weight[3], encoder.embedding.weight[4] = torch.eye(2)
        encoder.embedding.weight[5] = 0.0
        # Known answer: the phrase "3 4" alone scores 1 + 1 - 1.5.
        encoder.convolutions[0].weight.copy_(torch.eye(2)[None])
        encoder.convolutions[0].bias.fill_(-1.5)
    ids = torch.tensor([[5, 5, 3, 4], [3, 4, 5, 5], [4, 3, 5, 5], [3, 5, 4, 5]])
    assert encoder(encoder.embed(ids), ids > 0).flatten().tolist() == pytest.approx([0.5, 0.5, 0, 0])
    assert encoder.token_states(encoder.embed(ids), ids > 0)[0].flatten().tolist() == pytest.approx([0, 0, 0.5, 0])


def test_a_report_shorter_than_the_longest_phrase_is_read():
    encoder, ids = WordCnnEncoder(30, lengths=(1, 4)).eval(), torch.tensor([[3]])
    assert torch.isfinite(encoder(encoder.embed(ids), ids > 0)).all()


@pytest.mark.parametrize("options", [{"lengths": []}, {"lengths": [2, 0]}, {"n_phrases": 0}, {"token_size": 0}])
def test_a_size_that_cannot_work_is_refused_by_name(options):
    with pytest.raises(ConfigError, match=f"model.text_encoder.{next(iter(options))}"):
        WordCnnEncoder(30, **options)
