"""The multi-layer perceptron that trunks and heads share."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from distmtl.models.dropout import KeyedDropout


def hidden_layers(width: int, hidden: Sequence[int], dropout: float) -> nn.Sequential:
    """A linear map, a ReLU and, above 0, keyed dropout for each hidden width: ``[N, width] -> [N, hidden[-1]]``."""
    layers: list[nn.Module] = []
    for before, after in pairwise((width, *hidden)):
        layers += [nn.Linear(before, after), nn.ReLU()]
        if dropout > 0.0:
            layers.append(KeyedDropout(dropout))
    return nn.Sequential(*layers)
