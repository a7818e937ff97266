from __future__ import annotations

import pytest
import torch
from monai.networks import nets

from medfuse.errors import ConfigError
from medfuse.models.densenet import DenseNet121
from medfuse.models.image_encoder import PooledEncoder
from medfuse.models.residual_networks import ResNet10, ResNet18, ResNet34, ResNet50, SeResNet, _ChannelGate

IMAGE = torch.rand(2, 2, 29, 31, 33, generator=torch.Generator().manual_seed(0))


def randomised(encoder: PooledEncoder) -> PooledEncoder:
    """Give it weights and running statistics that are not the initial ones."""
    torch.manual_seed(0)
    for tensor in encoder.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(0.1 * torch.rand_like(tensor))
    return encoder.eval()


def copy_in_order(encoder: PooledEncoder, other: torch.nn.Module, *, without: str) -> None:
    """Load an encoder's weights into another implementation, in the order in which both hold them."""
    own = [t for name, t in encoder.state_dict().items() if not name.startswith("pooled_norm")]
    names = [name for name in other.state_dict() if not name.startswith(without)]
    missing, unexpected = other.load_state_dict(dict(zip(names, own, strict=True)), strict=False)
    assert all(name.startswith(without) for name in missing)
    assert not unexpected


@pytest.mark.parametrize(
    ("kind", "block", "layers"),
    [
        (ResNet10, "basic", [1, 1, 1, 1]),
        (ResNet18, "basic", [2, 2, 2, 2]),
        (ResNet34, "basic", [3, 4, 6, 3]),
        (ResNet50, "bottleneck", [3, 4, 6, 3]),
    ],
)
def test_it_computes_what_monai_does_with_the_same_weights(kind, block, layers):
    encoder = randomised(kind(2, IMAGE.shape[2:], width=4, stem="large"))
    other = nets.ResNet(
        block,
        layers,
        [4, 8, 16, 32],
        n_input_channels=2,
        conv1_t_stride=2,
        feed_forward=False,
        bias_downsample=False,
    ).eval()
    copy_in_order(encoder, other, without="fc")
    # With ``feed_forward=False`` MONAI gives the means of the last map.
    torch.testing.assert_close(encoder.feature_map(IMAGE).mean(dim=(2, 3, 4)), other(IMAGE))


def test_a_dense_network_computes_what_monai_does_with_the_same_weights():
    encoder = randomised(DenseNet121(2, IMAGE.shape[2:], growth=4, stem="large"))
    other = nets.DenseNet121(3, 2, 1, init_features=8, growth_rate=4).eval()
    copy_in_order(encoder, other, without="class_layers")
    found, expected = encoder.feature_map(IMAGE), other.features(IMAGE).relu()
    torch.testing.assert_close(found, expected)


def test_a_gate_is_the_published_formula():
    torch.manual_seed(0)
    gate, features = _ChannelGate(4, reduction=2), torch.rand(3, 4, 2, 3, 5)
    squeeze, widen = gate.layers[0], gate.layers[2]
    z = features.flatten(2).mean(2)
    s = torch.sigmoid(torch.relu(z @ squeeze.weight.T + squeeze.bias) @ widen.weight.T + widen.bias)
    torch.testing.assert_close(gate(features), s[:, :, None, None, None] * features)
    assert squeeze.weight.shape == (2, 4)


def test_gates_are_all_that_a_gated_network_has_more():
    plain, gated = ResNet18(1, (16, 16, 16), width=8), SeResNet(1, (16, 16, 16), depth=18, width=8, reduction=4)
    more = set(gated.state_dict()) - set(plain.state_dict())
    assert set(plain.state_dict()) <= set(gated.state_dict())
    assert len(more) == 4 * 8
    assert all(".gate." in name for name in more)


@pytest.mark.parametrize(("edge", "left"), [(28, 2), (47, 3), (48, 2), (64, 2), (96, 3)])
def test_the_stem_fits_the_box(edge, left):
    encoder = ResNet10(1, (edge, edge, edge), width=1).eval()
    assert encoder.feature_map(torch.zeros(1, 1, edge, edge, edge)).shape == (1, 8, left, left, left)


@pytest.mark.parametrize(("stem", "smallest"), [("small", 15), ("large", 29)])
def test_a_dense_network_refuses_exactly_the_boxes_that_cannot_work(stem, smallest):
    fits = DenseNet121(1, (smallest, smallest, smallest), growth=1, stem=stem).eval()
    assert fits.feature_map(torch.zeros(1, 1, smallest, smallest, smallest)).shape[2:] == (1, 1, 1)
    with pytest.raises(ConfigError, match=f"expected {smallest} voxels or more"):
        DenseNet121(1, (smallest, smallest, smallest - 1), growth=1, stem=stem)
    too_small = torch.zeros(1, 1, smallest, smallest, smallest - 1)
    with pytest.raises(RuntimeError, match="smaller than kernel size"):
        fits.feature_map(too_small)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("depth", 20, "10, 18, 34 or 50"), ("reduction", 0, "above 0"), ("width", 0, "above 0")],
)
def test_an_option_that_cannot_be_is_refused_by_name(option, value, message):
    with pytest.raises(ConfigError, match=rf"image_encoder\.{option}: found {value}; expected .*{message}"):
        SeResNet(1, (16, 16, 16), **{option: value})


def test_an_unknown_stem_is_refused():
    with pytest.raises(ConfigError, match=r"stem: found 'tiny'; expected auto, small or large"):
        ResNet18(1, (16, 16, 16), stem="tiny")
