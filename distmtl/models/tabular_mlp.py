"""The trunk for tables: every column is encoded by its kind, then an MLP over all of them."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from distmtl.features import CategoricalColumn, InputGroup, NumericColumn, SequenceColumn, TensorColumn
from distmtl.models.base import Inputs
from distmtl.models.encoders import Categories, IdBag, PiecewiseNumbers, StandardNumbers, TensorProjection
from distmtl.models.mlp import hidden_layers
from distmtl.models.specs import TabularMlpSpec

Encoder = StandardNumbers | PiecewiseNumbers | Categories | TensorProjection | IdBag


class TabularMlp(nn.Module):
    """Encoders of the input groups, then hidden layers: inputs of N rows to features ``[N, width]``.

    Rows of a source that lacks a group have every value of it missing.

    Args:
        groups: The input groups of all sources, in a fixed order.
        spec: The hyperparameters.
    """

    def __init__(self, groups: Sequence[InputGroup], spec: TabularMlpSpec) -> None:
        super().__init__()
        encoders = [_encoder(group, spec) for group in groups]
        self.groups = tuple(group.name for group in groups)
        self.encoders = nn.ModuleList(encoders)
        self.layers = hidden_layers(sum(encoder.width for encoder in encoders), spec.hidden, spec.dropout)
        self.width = spec.hidden[-1]

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """The hidden layers, which hold nearly all parameters of a wide trunk."""
        return tuple(layer for layer in self.layers if isinstance(layer, nn.Linear))

    def forward(self, inputs: Inputs) -> Tensor:
        """Features ``[N, width]``."""
        rows = next(iter(inputs.values())).shape[0]
        encoded = []
        for name, module in zip(self.groups, self.encoders, strict=True):
            encoder = cast(Encoder, module)
            encoded.append(encoder(inputs[name] if name in inputs else encoder.absent(rows)))
        features: Tensor = self.layers(torch.cat(encoded, dim=1))
        return features


def _encoder(group: InputGroup, spec: TabularMlpSpec) -> Encoder:
    match group.kind:
        case "numeric" if spec.numeric == "standard":
            return StandardNumbers(cast(Sequence[NumericColumn], group.columns))
        case "numeric":
            return PiecewiseNumbers(cast(Sequence[NumericColumn], group.columns), spec.bins, spec.numeric_width)
        case "categorical":
            return Categories(cast(Sequence[CategoricalColumn], group.columns), spec.categorical_width)
        case "tensor":
            return TensorProjection(cast(TensorColumn, group.columns[0]), spec.hidden[0])
        case "sequence":
            return IdBag(cast(SequenceColumn, group.columns[0]), spec.sequence_width)
