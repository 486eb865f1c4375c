"""Gradient reduction for parameters that stand outside DDP."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from distmtl.parallel.world import World


def sum_gradients(parameters: Sequence[nn.Parameter], world: World, scale: float = 1.0) -> None:
    """Replace each gradient by ``scale`` times its sum over ranks, in one all-reduce per dtype.

    A rank without a gradient contributes zeros. All ranks pass the same parameters in the same order.
    """
    if world.size == 1:
        return
    by_dtype: dict[torch.dtype, list[nn.Parameter]] = {}
    for parameter in parameters:
        by_dtype.setdefault(parameter.dtype, []).append(parameter)
    for group in by_dtype.values():
        _sum_flat(group, world, scale)


def _sum_flat(parameters: Sequence[nn.Parameter], world: World, scale: float) -> None:
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat: Tensor = torch.cat([grad.reshape(-1) for grad in grads])
    world.sum(flat).mul_(scale)
    for parameter, piece in zip(parameters, torch.split(flat, [p.numel() for p in parameters]), strict=True):
        parameter.grad = piece.view_as(parameter)
