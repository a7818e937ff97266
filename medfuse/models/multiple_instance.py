"""A whole study as a bag of patches: what counts is found, not marked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models.dropout import Dropout
from medfuse.models.image_encoder import ImageEncoder
from medfuse.models.small_cnns import SmallCnn
from medfuse.models.stems import check_edges

__all__ = ["MultipleInstance"]


class MultipleInstance(ImageEncoder):
    """A small CNN on every patch of the box, pooled by attention that is learnt from the study's label alone.

    For studies without a marked lesion, with ``data.image.region: whole``.

    Parameters
    ----------
    in_channels : int
        C.
    image_size : tuple of int
        (I, J, K) of the box, at least one patch along each axis; zeros fill the last patches.
    patch : int
        Edge of a patch in voxels, at least ``2 ** len(widths)``.
    widths : sequence of int
        Channels of each block of the CNN.
    attention_size : int
        L, hidden units of the attention.
    dropout : float
        Of the pooled numbers, in [0, 1].

    Raises
    ------
    ConfigError
        If a size does not fit.

    Notes
    -----
    Source: Ilse, Tomczak and Welling 2018, Attention-based Deep Multiple Instance Learning, equations 7 and 9 (gated
    attention); the CNN is `medfuse.models.small_cnns.SmallCnn`.

    Examples
    --------
    >>> encoder = MultipleInstance(1, (40, 32, 32), patch=16, widths=(2, 4)).eval()
    >>> image = torch.rand(2, 1, 40, 32, 32)
    >>> encoder.feature_map(image).shape
    torch.Size([2, 8, 3, 2, 2])
    >>> encoder.attention(encoder.feature_map(image)).sum(dim=(1, 2, 3)).round(decimals=4).tolist()
    [1.0, 1.0]
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int, int],
        *,
        patch: int = 16,
        widths: Sequence[int] = (16, 32, 64),
        attention_size: int = 64,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if attention_size < 1:
            where = "model.image_encoder.attention_size"
            raise ConfigError(where, f"found {attention_size}", expected="a number above 0")
        check_edges(image_size, smallest=max(patch, 1))
        self.patch = patch
        # Its own dropout would draw by patch; masks hang on the case.
        self.instance = SmallCnn(in_channels, (patch, patch, patch), widths=widths, dropout=0.0)
        self.feature_size = self.instance.feature_size
        self.content = nn.Linear(self.feature_size, attention_size)  # V
        self.gate = nn.Linear(self.feature_size, attention_size)  # U
        self.weight = nn.Linear(attention_size, 1, bias=False)  # w; a bias would not change the softmax
        self.dropout = Dropout(dropout)

    def feature_map(self, image: Tensor) -> Tensor:
        """Return the features of every patch, shape (B, D, i, j, k), in their places."""
        missing = [-edge % self.patch for edge in image.shape[2:]]
        filled = F.pad(image, [0, missing[2], 0, missing[1], 0, missing[0]])
        n, c = filled.shape[:2]
        grid = [edge // self.patch for edge in filled.shape[2:]]
        cut = filled.reshape(n, c, grid[0], self.patch, grid[1], self.patch, grid[2], self.patch)
        patches = cut.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(-1, c, self.patch, self.patch, self.patch)
        features: Tensor = self.instance(patches)
        return features.reshape(n, *grid, -1).movedim(-1, 1)

    def attention(self, feature_map: Tensor) -> Tensor:
        """Return the weight of every patch, shape (B, i, j, k), which sum to 1 in each case."""
        patches = feature_map.movedim(1, -1)
        scores = self.weight(torch.tanh(self.content(patches)) * torch.sigmoid(self.gate(patches)))[..., 0]
        weights: Tensor = scores.flatten(start_dim=1).softmax(dim=1).reshape(scores.shape)
        return weights

    def pool(self, feature_map: Tensor) -> Tensor:
        """Return the mean of the patches' features by their attention."""
        weighed = feature_map * self.attention(feature_map)[:, None]
        features: Tensor = self.dropout(weighed.sum(dim=(2, 3, 4)))
        return features
