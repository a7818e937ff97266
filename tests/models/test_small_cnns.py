import pytest
import torch
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models.small_cnns import SmallCnn


def test_pooling_keeps_the_largest_of_each_eight_places() -> None:
    torch.manual_seed(0)
    encoder = SmallCnn(1, (12, 9, 8), widths=(3, 4), downsampling="pool").eval()
    image = torch.rand(2, 1, 12, 9, 8)
    expected = image
    for convolution, norm in ((encoder.blocks[0], encoder.blocks[1]), (encoder.blocks[4], encoder.blocks[5])):
        expected = F.max_pool3d(F.relu(norm(F.conv3d(expected, convolution.weight, padding=1))), 2)
    torch.testing.assert_close(encoder.feature_map(image), expected)
    assert expected.shape == (2, 4, 3, 2, 2)


def test_an_unknown_downsampling_is_refused() -> None:
    with pytest.raises(ConfigError, match="downsampling: found 'pol'"):
        SmallCnn(1, (16, 16, 16), downsampling="pol")
