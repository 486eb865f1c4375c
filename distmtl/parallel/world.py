"""Who am I among the workers, and the few collectives that the parts use."""

from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor


class World(Protocol):
    """A group of workers that run the same program.

    Every method but the properties is a collective: all ranks call it, in the same order.
    """

    @property
    def rank(self) -> int:
        """This worker's number, from 0."""
        ...

    @property
    def size(self) -> int:
        """How many workers there are."""
        ...

    @property
    def device(self) -> torch.device:
        """Where this worker computes."""
        ...

    def sum(self, tensor: Tensor) -> Tensor:
        """The element-wise sum over ranks, written into ``tensor`` and returned."""
        ...

    def gather(self, value: Any) -> list[Any] | None:
        """Every rank's picklable value, in rank order, on rank 0; None elsewhere."""
        ...

    def all_gather(self, value: Any) -> list[Any]:
        """Every rank's picklable value, in rank order, on every rank."""
        ...

    def broadcast(self, value: Any) -> Any:
        """Rank 0's picklable value, on every rank."""
        ...

    def barrier(self) -> None:
        """Return once every rank has called this."""
        ...


class Solo:
    """The world of one worker: every collective is the identity."""

    rank = 0
    size = 1

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cpu")

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def gather(self, value: Any) -> list[Any] | None:
        """The value alone."""
        return [value]

    def all_gather(self, value: Any) -> list[Any]:
        """The value alone."""
        return [value]

    def broadcast(self, value: Any) -> Any:
        """The value itself."""
        return value

    def barrier(self) -> None:
        """Return at once."""


class TorchWorld:
    """The world of a torch process group."""

    def __init__(self, device: torch.device) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self.device = device

    def sum(self, tensor: Tensor) -> Tensor:
        """The element-wise sum over ranks, written into ``tensor`` and returned."""
        if tensor.device == self.device or self.device.type == "cpu":
            dist.all_reduce(tensor)
        else:  # a host tensor where the collectives run on the accelerator
            moved = tensor.to(self.device)
            dist.all_reduce(moved)
            tensor.copy_(moved)
        return tensor

    def gather(self, value: Any) -> list[Any] | None:
        """Every rank's picklable value, in rank order, on rank 0; None elsewhere."""
        values: list[Any] | None = [None] * self.size if self.rank == 0 else None
        dist.gather_object(value, values, dst=0)
        return values

    def all_gather(self, value: Any) -> list[Any]:
        """Every rank's picklable value, in rank order, on every rank."""
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: Any) -> Any:
        """Rank 0's picklable value, on every rank."""
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def barrier(self) -> None:
        """Return once every rank has called this."""
        dist.barrier()


def current_world(device: torch.device) -> World:
    """The world of this process: the initialised process group's, or the world of one."""
    return TorchWorld(device) if dist.is_available() and dist.is_initialized() else Solo(device)
