"""Clinical table -> features."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from medfuse.errors import ConfigError
from medfuse.models.dropout import Dropout
from medfuse.tensors import TableShape

__all__ = ["TABLE_ENCODERS", "TableEncoder", "TableMlp"]


class TableEncoder(nn.Module, ABC):
    """What every encoder of tables offers.

    Attributes
    ----------
    feature_size : int
        Length of the features that ``forward`` gives.
    """

    feature_size: int

    @abstractmethod
    def forward(self, table: Tensor) -> Tensor:
        """Return features, shape (B, feature_size), of a table, shape (B, T), as `medfuse.data.TableColumns` has it."""


class TableMlp(TableEncoder):
    """Two layers over numbers, marks of those that are missing, and embedded categories.

    Parameters
    ----------
    table_shape : TableShape
        How many numbers and categories there are.
    hidden_size : int
    category_size : int
        Numbers that stand for a category.
    dropout : float
        Of the hidden layer, in [0, 1].

    Raises
    ------
    ConfigError
        If there is no column, or a size is not positive.

    Notes
    -----
    Source: Gorishniy et al. 2021, Revisiting Deep Learning Models for Tabular Data (MLP), with categories embedded as
    in Guo & Berkhahn 2016, Entity Embeddings of Categorical Variables.

    Examples
    --------
    >>> encoder = TableMlp(TableShape(2, (3,)), hidden_size=8).eval()
    >>> encoder(torch.tensor([[0.5, 0.0, 1.0, 0.0, 2.0]])).shape
    torch.Size([1, 8])
    """

    def __init__(
        self, table_shape: TableShape, *, hidden_size: int = 32, category_size: int = 4, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if not (table_shape.n_numbers or table_shape.category_sizes):
            expected = "data.table.numeric or data.table.categorical, for the modality table"
            raise ConfigError("model.table_encoder", "found no column to read", expected=expected)
        for name, size in (("hidden_size", hidden_size), ("category_size", category_size)):
            if size < 1:
                raise ConfigError(f"model.table_encoder.{name}", f"found {size}", expected="1 or more")
        self.n_numbers = table_shape.n_numbers
        self.categories = nn.ModuleList(nn.Embedding(size, category_size) for size in table_shape.category_sizes)
        self.layers = nn.Sequential(
            nn.Linear(2 * self.n_numbers + category_size * len(self.categories), hidden_size),
            nn.ReLU(inplace=True),
            Dropout(dropout),
            nn.Linear(hidden_size, hidden_size),
            nn.ReLU(inplace=True),
        )
        self.feature_size = hidden_size

    def forward(self, table: Tensor) -> Tensor:
        """Return features."""
        numbers, codes = table[:, : 2 * self.n_numbers], table[:, 2 * self.n_numbers :].long()
        embedded = [layer(codes[:, column]) for column, layer in enumerate(self.categories)]
        features: Tensor = self.layers(torch.cat([numbers, *embedded], dim=1))
        return features


TABLE_ENCODERS: dict[str, type[TableEncoder]] = {"mlp": TableMlp}
