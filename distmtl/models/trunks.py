"""Trunks: from a row's inputs to the features that every task reads."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from distmtl.errors import ConfigError
from distmtl.features import InputGroup
from distmtl.models.deferred import can_be_deferred, without_memory
from distmtl.models.heads import require_module
from distmtl.models.init import initialise, seeded
from distmtl.models.specs import TrunkSpec
from distmtl.models.tabular_mlp import TabularMlp
from distmtl.spec import CustomSpec


@dataclass(frozen=True)
class Trunk:
    """A trunk and the width of its features."""

    module: nn.Module
    width: int


def build_trunk(
    spec: TrunkSpec, groups: Sequence[InputGroup], seed: int, name: str = "trunk", *, defer: bool = False
) -> Trunk:
    """A trunk with its initial values.

    Args:
        spec: The hyperparameters; a custom trunk is called with ``(groups, **args)`` and has an integer ``width``.
        groups: The input groups of all sources.
        seed: The run's seed.
        name: The trunk's name in the model.
        defer: Whether its parameters get no memory yet, where it can do without; see :mod:`distmtl.models.deferred`.

    Raises:
        ConfigError: A custom trunk is no ``nn.Module``, or has no width.
    """
    with seeded(seed, name):
        if isinstance(spec, CustomSpec):
            return _custom(spec, groups)
        if defer:
            with without_memory():
                shell = TabularMlp(groups, spec)
            if can_be_deferred(shell):
                return Trunk(shell, shell.width)
        trunk = TabularMlp(groups, spec)
    initialise(trunk, seed, name)
    return Trunk(trunk, trunk.width)


def _custom(spec: CustomSpec, groups: Sequence[InputGroup]) -> Trunk:
    module = require_module(spec.build(tuple(groups)), spec.target)
    width = getattr(module, "width", None)
    if not isinstance(width, int):
        raise ConfigError(
            f"trunk '{spec.target}' has no integer attribute 'width'.",
            remedy="Set 'self.width' to the width of its features, so that heads can be sized.",
        )
    return Trunk(module, width)
