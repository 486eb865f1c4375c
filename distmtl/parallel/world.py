"""Who am I among the workers, and the few collectives that the parts use."""

from typing import Any, Protocol

import torch
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
