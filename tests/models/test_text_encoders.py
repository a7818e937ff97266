from __future__ import annotations

import pytest
import torch

from medfuse.models.text_encoders import GruEncoder


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
