"""A world whose ranks are threads of one process: collectives without a network."""

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor

from distmtl.parallel.world import World

T = TypeVar("T")


class _Meeting:
    """Where the ranks exchange values."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size)
        self.values: list[Any] = [None] * size


class ThreadWorld:
    """One rank; its collectives pickle what they exchange, as between processes."""

    def __init__(self, rank: int, size: int, meeting: _Meeting) -> None:
        self.rank = rank
        self.size = size
        self.device = torch.device("cpu")
        self._meeting = meeting

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor.copy_(torch.stack(self.all_gather(tensor.clone())).sum(0))

    def gather(self, value: Any) -> list[Any] | None:
        found = self.all_gather(value)
        return found if self.rank == 0 else None

    def all_gather(self, value: Any) -> list[Any]:
        self._meeting.values[self.rank] = pickle.dumps(value)
        self.barrier()
        found = [pickle.loads(data) for data in self._meeting.values]
        self.barrier()
        return found

    def broadcast(self, value: Any) -> Any:
        return self.all_gather(value)[0]

    def barrier(self) -> None:
        self._meeting.barrier.wait(timeout=30)


def run_ranks(size: int, program: Callable[[World], T]) -> list[T | Exception]:
    """Run a program on every rank; its result or its exception, in rank order."""
    meeting = _Meeting(size)

    def one(rank: int) -> T | Exception:
        try:
            return program(ThreadWorld(rank, size, meeting))
        except Exception as error:
            if not isinstance(error, threading.BrokenBarrierError):
                error.__traceback__ = None
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


def results(size: int, program: Callable[[World], T]) -> list[T]:
    """Run a program on every rank and return the results; raise what the first failing rank raised."""
    found: list[T] = []
    for outcome in run_ranks(size, program):
        if isinstance(outcome, Exception):
            raise outcome
        found.append(outcome)
    return found
