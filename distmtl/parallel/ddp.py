"""Wrapping the part of a model that every step uses in DistributedDataParallel."""

from contextlib import AbstractContextManager, nullcontext

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from distmtl.parallel.specs import ParallelSpec
from distmtl.parallel.world import World


def wrap_ddp(module: nn.Module, spec: ParallelSpec, world: World) -> nn.Module:
    """The module in DDP, or itself in a world of one.

    DDP *averages* gradients over ranks; callers multiply their loss by ``world.size`` to get the sum. Every
    parameter must take part in every synchronised backward pass, so ``find_unused_parameters`` stays off. Buffers
    hold constants of the data and are not broadcast.
    """
    if world.size == 1:
        return module
    return DistributedDataParallel(
        module,
        device_ids=[world.device] if world.device.type == "cuda" else None,
        bucket_cap_mb=spec.bucket_mb,
        forward_sync_buffers=False,
        gradient_as_bucket_view=True,
    )


def quiet(module: nn.Module) -> AbstractContextManager[None]:
    """Keeps a module's DDP, if it has one, from adding up the gradients of passes made inside the block."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()
