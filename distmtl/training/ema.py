"""A moving average of the parameters (Polyak & Juditsky 1992), which evaluation uses in their place."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from distmtl.parallel.fsdp import local

_WARM_UP = 10.0


class MovingAverage:
    """The average of a model's parameters over the steps, held as the parameters are held.

    After step t (from 0) it moves towards them by ``1 - min(decay, (1 + t) / (10 + t))``, so that it forgets the first
    values soon.

    Args:
        model: The model; frozen parameters are left out.
        decay: What it keeps of itself in a step, in [0, 1).

    Attributes:
        tensors: The average, by parameter name.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.tensors: dict[str, Tensor] = {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the parameters after a step."""
        share = 1.0 - min(self._decay, (1.0 + step) / (_WARM_UP + step))
        ours = [local(tensor) for tensor in self.tensors.values()]
        torch._foreach_lerp_(ours, [local(p) for p in self._parameters.values()], share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block, the model has the averaged parameters."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            kept = local(parameter).clone()
            local(parameter).copy_(local(self.tensors[name]))
            local(self.tensors[name]).copy_(kept)
