"""How the columns of an input group enter a network: one module per kind of column.

Each encoder maps a group's tensor to ``[N, width]`` floats without NaN, and knows its ``width``. What the values look
like comes from the manifest's statistics, which stand in the model as buffers, so a restored model needs no source.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from distmtl.errors import ConfigError
from distmtl.features import (
    FIRST_ID,
    MISSING_ID,
    CategoricalColumn,
    NumericColumn,
    SequenceColumn,
    TensorColumn,
)
from distmtl.models.bins import bin_edges

_FLOAT32 = (torch.finfo(torch.float32).min, torch.finfo(torch.float32).max)


class StandardNumbers(nn.Module):
    """Numbers with mean 0 and deviation 1 over the train split: ``[N, C] -> [N, C]``.

    A value outside the range of the train split counts as its nearer end; a missing one (NaN) is a learned number per
    column, at first the column's mean.
    """

    mean: Tensor
    inverse_std: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(self, columns: Sequence[NumericColumn]) -> None:
        super().__init__()
        self.width = len(columns)
        self.missing = nn.Parameter(torch.empty(self.width))
        self.register_buffer("mean", _floats(_finite(c.mean, 0.0) for c in columns))
        self.register_buffer("inverse_std", _floats(1.0 / _finite(c.std, 1.0, positive=True) for c in columns))
        self.register_buffer("lowest", _floats(_finite(c.minimum, 0.0) for c in columns).clamp(*_FLOAT32))
        self.register_buffer("highest", _floats(_finite(c.maximum, 0.0) for c in columns).clamp(*_FLOAT32))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Missing values start as the mean."""
        nn.init.zeros_(self.missing)

    def forward(self, values: Tensor) -> Tensor:
        """Standardised values."""
        values, missing = _known(values, self.lowest, self.highest)
        return torch.where(missing, self.missing, (values - self.mean) * self.inverse_std)

    def absent(self, rows: int) -> Tensor:
        """The input of rows that lack the whole group."""
        return self.mean.new_full((rows, self.width), torch.nan)


class PiecewiseNumbers(nn.Module):
    """A learned piecewise-linear embedding of each number: ``[N, C] -> [N, C * width]``.

    Gorishniy et al. 2022 (On Embeddings for Numerical Features in Tabular Deep Learning): entry t of the encoding of
    x is how far x has come through bin t, ``clamp((x - b[t]) / (b[t+1] - b[t]), 0, 1)``; each column then has its own
    linear map and ReLU. Unlike there the outermost bins do not extrapolate, so one wild value cannot dominate.
    A missing value (NaN) has a learned embedding per column, at first 0.

    Args:
        columns: The group's columns; how their values spread decides the bins, see :mod:`distmtl.models.bins`.
        bins: Most bins per column.
        width: Width of a column's embedding.
    """

    left: Tensor
    inverse_size: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(self, columns: Sequence[NumericColumn], bins: int, width: int) -> None:
        super().__init__()
        edges = [bin_edges(column, bins) for column in columns]
        most = max(len(e) for e in edges) - 1
        # A column with fewer bins is filled up with bins that no value enters: (x - 0) * 0.
        left = np.zeros((len(columns), most), np.float32)
        inverse_size = np.zeros_like(left)
        for c, e in enumerate(edges):
            left[c, : len(e) - 1] = e[:-1]
            inverse_size[c, : len(e) - 1] = 1.0 / np.maximum(np.diff(e), np.finfo(np.float32).tiny)
        self.width = len(columns) * width
        self.weight = nn.Parameter(torch.empty(len(columns), most, width))
        self.bias = nn.Parameter(torch.empty(len(columns), width))
        self.missing = nn.Parameter(torch.empty(len(columns), width))
        self.register_buffer("left", torch.from_numpy(left))
        self.register_buffer("inverse_size", torch.from_numpy(inverse_size))
        self.register_buffer("lowest", _floats(e[0] for e in edges))
        self.register_buffer("highest", _floats(e[-1] for e in edges))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform as in a linear layer over the bins; missing values start at 0."""
        bound = self.weight.shape[1] ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)
        nn.init.zeros_(self.missing)

    def forward(self, values: Tensor) -> Tensor:
        """The embeddings of a row's columns, side by side."""
        values, missing = _known(values, self.lowest, self.highest)
        encoded = ((values[:, :, None] - self.left) * self.inverse_size).clamp(0.0, 1.0)
        embedded = torch.relu(torch.einsum("ncb,cbw->ncw", encoded, self.weight) + self.bias)
        return torch.where(missing[:, :, None], self.missing, embedded).flatten(1)

    def absent(self, rows: int) -> Tensor:
        """The input of rows that lack the whole group."""
        return self.left.new_full((rows, self.left.shape[0]), torch.nan)


class Categories(nn.Module):
    """One embedding per categorical column, side by side: ``[N, C] int64 -> [N, width]``.

    Args:
        columns: The group's columns.
        width: Largest width of an embedding; a column with n ids gets at most ``ceil(n / 2)``.
    """

    def __init__(self, columns: Sequence[CategoricalColumn], width: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(_Table(c.ids, min(width, (c.ids + 1) // 2)) for c in columns)
        self.width = sum(table.embedding_dim for table in self.tables if isinstance(table, _Table))

    def forward(self, ids: Tensor) -> Tensor:
        """The embeddings of a row's columns, side by side."""
        return torch.cat([table(ids[:, c]) for c, table in enumerate(self.tables)], dim=1)

    def absent(self, rows: int) -> Tensor:
        """The input of rows that lack the whole group."""
        device = next(self.parameters()).device
        return torch.full((rows, len(self.tables)), MISSING_ID, dtype=torch.int64, device=device)


class _Table(nn.Embedding):
    """An embedding in which missing and unknown values start at 0, and stay there until a row has one."""

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.embedding_dim**-0.5)
        with torch.no_grad():
            self.weight[:FIRST_ID] = 0.0


class TensorProjection(nn.Linear):
    """A tensor per row, flattened and mapped linearly: ``[N, *shape] -> [N, width]``; bytes are scaled to [0, 1]."""

    def __init__(self, column: TensorColumn, width: int) -> None:
        super().__init__(int(np.prod(column.shape)), width)
        self.width = width

    def forward(self, values: Tensor) -> Tensor:
        """The projections."""
        scale = 1.0 / 255.0 if values.dtype == torch.uint8 else 1.0
        return super().forward(values.flatten(1).to(self.weight.dtype) * scale)

    def absent(self, rows: int) -> Tensor:
        """The input of rows that lack the whole group."""
        return self.weight.new_zeros(rows, self.in_features)


class IdBag(nn.Module):
    """The mean of the embeddings of a row's ids: ``[N, T] int64 -> [N, width]``; a row without ids has 0.

    Args:
        column: A sequence of ids.
        width: Width of an embedding.

    Raises:
        ConfigError: Its numbers are no ids.
    """

    def __init__(self, column: SequenceColumn, width: int) -> None:
        super().__init__()
        if column.size is None:
            raise ConfigError(
                f"this trunk cannot read the sequence '{column.name}', whose numbers are no ids.",
                remedy="Say how many ids there are with the transform 'sequence', or bring a trunk of your own.",
            )
        self.width = width
        self.pad = int(column.pad)
        self.weight = nn.Parameter(torch.empty(max(column.size, self.pad + 1), width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal, of norm about 1."""
        nn.init.normal_(self.weight, std=self.width**-0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """The means."""
        return nn.functional.embedding_bag(ids, self.weight, mode="mean", padding_idx=self.pad)

    def absent(self, rows: int) -> Tensor:
        """The input of rows that lack the whole group."""
        return torch.full((rows, 1), self.pad, dtype=torch.int64, device=self.weight.device)


def _known(values: Tensor, lowest: Tensor, highest: Tensor) -> tuple[Tensor, Tensor]:
    """The values within the range ``[N, C]``, those that are missing replaced, and which were missing ``[N, C]``."""
    values = values.to(lowest.dtype)
    missing = values.isnan()
    return torch.where(missing, lowest, values).clamp(lowest, highest), missing


def _floats(values: Iterable[float]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float32)


def _finite(value: float, otherwise: float, *, positive: bool = False) -> float:
    """The value, or ``otherwise`` where the train split holds no value, or only one, to compute it from."""
    return value if np.isfinite(value) and (value > 0.0 or not positive) else otherwise
