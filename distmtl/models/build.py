"""From the run file's model section to a model."""

from collections.abc import Mapping, Sequence

from torch import nn

from distmtl.errors import ConfigError
from distmtl.features import InputGroup
from distmtl.models.base import MultiTaskModel
from distmtl.models.dropout import name_dropouts
from distmtl.models.hard_sharing import build_hard_sharing
from distmtl.models.specs import ModelSpec


def build_model(
    spec: ModelSpec, groups: Sequence[InputGroup], outputs: Mapping[str, int], seed: int, *, defer: bool = False
) -> MultiTaskModel:
    """A float32 model on the CPU, with initial values that depend on the seed and each parameter's name alone.

    Args:
        spec: The architecture and its hyperparameters.
        groups: The input groups of all sources, each name once, in an order that does not depend on the worker.
        outputs: Numbers that each task needs per row, by task name.
        seed: The run's seed.
        defer: Whether the trunk's parameters get their memory later, where it can do without.

    Raises:
        ConfigError: A task's name cannot name a module, ``heads`` names an unknown task, or a custom part does not fit.
    """
    taken = nn.ModuleDict()
    for task in outputs:
        # A ModuleDict keeps its modules beside its own attributes, so that a few names are taken.
        if "." in task or hasattr(taken, task):
            raise ConfigError(
                f"'{task}' cannot name a task: torch needs the name itself, or it has a dot.",
                f"tasks.{task}",
                "Choose another name.",
            )
    model = build_hard_sharing(spec, groups, outputs, seed, defer=defer)
    name_dropouts(model)
    return model
