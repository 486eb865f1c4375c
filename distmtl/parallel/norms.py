"""Norms and finiteness of parameters that workers hold whole or in shares."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from distmtl.parallel.fsdp import SHARD, local
from distmtl.parallel.world import World


def total_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Euclidean norm of all gradients, however they are held; a collective where some are sharded."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    sharded = [gradient for gradient in gradients if isinstance(gradient, DTensor)]
    if not sharded:
        return nn.utils.get_total_norm(gradients, foreach=True)
    mesh = sharded[0].device_mesh
    # gradients that are offloaded lie on the host, where the mesh's groups may not reach
    own = _square([gradient.to_local() for gradient in sharded]).to(mesh.device_type)
    dist.all_reduce(own, group=mesh.get_group(SHARD))
    return (own + _square([gradient for gradient in gradients if not isinstance(gradient, DTensor)]).to(own)).sqrt()


def clip_gradients(parameters: Sequence[nn.Parameter], norm: Tensor, largest: float) -> None:
    """Scale all gradients so that their norm, which is ``norm``, is at most ``largest``."""
    gradients = [local(parameter.grad) for parameter in parameters if parameter.grad is not None]
    factor = torch.clamp(largest / (norm + 1e-6), max=1.0)  # as torch's own clipping has it
    for gradient in gradients:
        gradient.mul_(factor.to(gradient.device, gradient.dtype))


def is_finite(parameters: Sequence[nn.Parameter], world: World) -> bool:
    """Whether every number of every parameter is; the same on every worker. A collective."""
    odd = sum(int((~local(parameter).isfinite()).sum()) for parameter in parameters)
    return not bool(world.sum(torch.tensor(float(odd), dtype=torch.float64)))


def _square(gradients: Sequence[Tensor]) -> Tensor:
    """Sum of squares, in float64."""
    total = torch.zeros((), dtype=torch.float64, device=gradients[0].device if gradients else None)
    for gradient in gradients:
        total += torch.linalg.vector_norm(gradient.double()).square().to(total.device)
    return total
