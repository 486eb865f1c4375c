"""The loss scale of fp16: small gradients survive half precision, and steps whose gradients overflow are left out."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from distmtl.parallel.fsdp import local
from distmtl.parallel.world import World

_GROWTH, _BACKOFF = 2.0, 0.5


class LossScale:
    """Multiplies losses with a number that follows what the gradients bear (Micikevicius et al. 2018, section 3.2).

    The rule is that of ``torch.amp.GradScaler``, which cannot be used here: it does not take sharded and whole
    gradients together, and of sharded ones a worker sees its share alone, so that workers could decide differently.

    Args:
        world: The workers.
        enabled: Whether there is a scale at all.
        initial: The scale before the first step.
        patience: Steps without an overflow after which the scale grows.
    """

    def __init__(self, world: World, *, enabled: bool, initial: float = 2.0**16, patience: int = 2000) -> None:
        self._world, self._enabled, self._patience = world, enabled, patience
        self._scale = initial if enabled else 1.0
        self._clean_steps = 0
        self._overflowed = False

    @property
    def value(self) -> float:
        """The scale; 1 if there is none."""
        return self._scale

    def scale(self, loss: Tensor) -> Tensor:
        """A loss times the scale."""
        return loss * self._scale if self._enabled else loss

    def unscale(self, parameters: Iterable[nn.Parameter]) -> None:
        """Divide the gradients by the scale and note whether any worker has one that is not finite; a collective."""
        if not self._enabled:
            return
        odd = torch.zeros((), dtype=torch.float64, device=self._world.device)
        for parameter in parameters:
            if parameter.grad is not None:
                gradient = local(parameter.grad)
                odd += (~gradient.isfinite()).any().to(odd)
                gradient.mul_(1.0 / self._scale)
        self._overflowed = bool(self._world.sum(odd) > 0)

    def update(self, optimizer: torch.optim.Optimizer) -> bool:
        """Step the optimizer, unless a gradient overflowed; returns whether that was left out."""
        if not self._enabled:
            optimizer.step()
            return False
        if self._overflowed:
            self._scale, self._clean_steps = self._scale * _BACKOFF, 0
            return True
        optimizer.step()
        self._clean_steps += 1
        if self._clean_steps == self._patience:
            self._scale, self._clean_steps = self._scale * _GROWTH, 0
        return False

    def state(self) -> dict[str, Any]:
        """For a checkpoint; empty if there is no scale."""
        # the names that checkpoints of torch's own scaler have
        return {"scale": self._scale, "_growth_tracker": self._clean_steps} if self._enabled else {}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`; an empty one changes nothing."""
        if self._enabled and state:
            self._scale, self._clean_steps = float(state["scale"]), int(state["_growth_tracker"])
