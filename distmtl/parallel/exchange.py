"""Collectives on flat buffers: summing one so that every worker keeps its own part, and putting parts together."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from distmtl.parallel.world import World


@dataclass
class PendingSum:
    """A sum over the workers that is under way."""

    work: Any
    received: Tensor
    added: bool

    def wait(self) -> Tensor:
        """This worker's part of the sum ``[n]``."""
        self.work.wait()
        return self.received if self.added else self.received.sum(0)


def begin_sum(parts: Tensor, world: World) -> PendingSum:
    """Begin to add up ``parts [R, n]`` over the workers; worker r gets row r of the sum.

    ``parts`` must stay as it is until the sum is waited for. Gloo's reduce-scatter sends as much as an all-reduce, so
    there each worker sends row r to worker r and adds up what it got: (R - 1) n numbers instead of twice as many.
    """
    if dist.get_backend() == "nccl" or parts.device.type == "cuda":
        out = torch.empty_like(parts[0])
        return PendingSum(dist.reduce_scatter_single(out, parts.view(-1), async_op=True), out, added=True)
    received = torch.empty_like(parts)
    work = dist.all_to_all_single(received.view(-1), parts.view(-1), async_op=True)
    return PendingSum(work, received, added=world.size == 1)


def join_parts(part: Tensor, world: World) -> Tensor:
    """Every worker's part ``[n]``, one after the other ``[R * n]``."""
    if world.size == 1:
        return part
    whole = part.new_empty(world.size * part.numel())
    dist.all_gather_single(whole, part)
    return whole
