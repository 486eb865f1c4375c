"""What the step expects of a model: a trunk that every task uses, and private modules that only some use."""

from torch import Tensor, nn

Inputs = dict[str, Tensor]
"""Input groups by name: ``[N, columns]`` or ``[N, *shape]``; see :class:`distmtl.features.InputGroup`."""

Features = Tensor | tuple[Tensor, ...]
"""What the trunk hands to the private modules: one or several tensors whose first dimension is the row."""


class MultiTaskModel(nn.Module):
    """A trunk and one private module per task.

    ``trunk(inputs) -> features`` runs once over the rows of all sources with the same inputs, concatenated;
    ``private[task](features of the task's rows) -> [N, outputs]``. A parameter stands in exactly one of them.
    """

    def __init__(self, trunk: nn.Module, private: dict[str, nn.Module]) -> None:
        super().__init__()
        self.trunk = trunk
        self.private = nn.ModuleDict(private)

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Every task's output ``[N, outputs]`` for these rows."""
        features = self.trunk(inputs)
        return {name: head(features) for name, head in self.private.items()}
