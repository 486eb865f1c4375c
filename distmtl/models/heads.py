"""Heads: from the trunk's features to one task's outputs."""

from typing import Any

from torch import Tensor, nn

from distmtl.errors import ConfigError
from distmtl.models.init import initialise, seeded
from distmtl.models.mlp import hidden_layers
from distmtl.models.specs import HeadSpec, MlpHeadSpec
from distmtl.spec import CustomSpec


class MlpHead(nn.Module):
    """Hidden layers, then a linear map: ``[N, width] -> [N, outputs]``; without hidden layers the linear map alone."""

    def __init__(self, width: int, outputs: int, spec: MlpHeadSpec) -> None:
        super().__init__()
        self.layers = hidden_layers(width, spec.hidden, spec.dropout)
        self.out = nn.Linear((width, *spec.hidden)[-1], outputs)

    def forward(self, features: Tensor) -> Tensor:
        """The task's outputs ``[N, outputs]``."""
        outputs: Tensor = self.out(self.layers(features))
        return outputs


def build_head(spec: HeadSpec, width: int, outputs: int, seed: int, name: str) -> nn.Module:
    """A head with its initial values.

    Args:
        spec: The hyperparameters; a custom head is called with ``(width, outputs, **args)``.
        width: Width of the trunk's features.
        outputs: Numbers that the task needs per row.
        seed: The run's seed.
        name: The head's name in the model.

    Raises:
        ConfigError: A custom head is no ``nn.Module``.
    """
    with seeded(seed, name):
        if isinstance(spec, CustomSpec):
            return require_module(spec.build(width, outputs), spec.target)
        head = MlpHead(width, outputs, spec)
    initialise(head, seed, name)
    return head


def require_module(built: Any, target: str) -> nn.Module:
    """What a custom target returned, if it is a module.

    Raises:
        ConfigError: It is something else.
    """
    if not isinstance(built, nn.Module):
        raise ConfigError(
            f"'{target}' returned {type(built).__name__}, not a torch.nn.Module.",
            remedy="Let the target be a module class, or a function that returns a module.",
        )
    return built
