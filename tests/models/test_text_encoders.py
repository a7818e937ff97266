from __future__ import annotations

import pytest
import torch

from medfuse.errors import ConfigError
from medfuse.models.text_encoders import GruEncoder, WordCnnEncoder


@pytest.mark.parametrize("bidirectional", [True, False])
def test_features_equal_mean_and_maximum_of_a_plain_gru_on_the_unpadded_report(bidirectional):
    torch.manual_seed(0)
    encoder = GruEncoder(30, token_size=6, hidden_size=5, bidirectional=bidirectional).eval()
    lengths = [4, 9, 1]
    mask = torch.arange(9) < torch.tensor(lengths)[:, None]
    embedded = encoder.embed(torch.randint(1, 30, (3, 9)))
    features = encoder(embedded, mask)
    for row, length in enumerate(lengths):
        states, _ = encoder.gru(embedded[row : row + 1, :length])
        expected = torch.cat([states[0].mean(dim=0), states[0].amax(dim=0)])
        torch.testing.assert_close(features[row], expected)


def test_the_order_of_the_words_matters():
    torch.manual_seed(0)
    encoder, ids = GruEncoder(30).eval(), torch.tensor([[3, 4, 5, 6]])
    mask = torch.ones(1, 4, dtype=torch.bool)
    assert not torch.allclose(encoder(encoder.embed(ids), mask), encoder(encoder.embed(ids.flip(1)), mask))


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
