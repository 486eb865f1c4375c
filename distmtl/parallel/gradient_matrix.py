"""The matrix J ``[T, P]`` of global task gradients over the trunk's parameters, by columns over the workers.

A worker differentiates one task's loss after the other; each time the gradients that arrive in ``parameter.grad`` are
added over the workers and become a row of J, of which every worker keeps some columns. So the Gramian ``J J^T`` is the
sum of the workers' own, which averaging the Gramians of local gradients is not.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from distmtl.parallel.exchange import PendingSum, begin_sum, join_parts
from distmtl.parallel.world import World

_CHUNK = 2**16
"""Columns whose products are added in the gradients' own precision; the sums of these are added in float64."""


class Span(NamedTuple):
    """Columns of a shard: ``size`` elements of a parameter from ``start`` on, in row-major order."""

    name: str
    start: int
    size: int


class GradientMatrix(Protocol):
    """This worker's columns of J.

    Attributes:
        shard: They ``[T, n]``; after :meth:`finish`, rows of tasks that :meth:`take` was not called for since
            :meth:`clear` are 0.
        spans: What the columns are.
        widths: Elements of each parameter, over all workers.
        copies: How many workers hold the same columns.
        writes: Whether this worker is the first of these.
    """

    shard: Tensor
    spans: tuple[Span, ...]
    widths: Mapping[str, int]
    copies: int
    writes: bool

    def clear(self) -> None:
        """Forget every row."""
        ...

    def take(self, row: int) -> None:
        """Add the parameters' gradients, summed over the workers, to a row, and drop them; a collective."""
        ...

    def finish(self) -> None:
        """Wait for the sums that are under way; a collective."""
        ...

    def install(self, update: Tensor) -> None:
        """Make ``update [n]`` the parameters' gradients; a collective."""
        ...


class FlatMatrix:
    """J where every worker holds all parameters: each keeps an equal stretch of their elements.

    While a row is added up over the workers, the next may be differentiated.

    Args:
        parameters: The trunk's, by name.
        tasks: T.
        world: The workers.
    """

    copies = 1
    writes = True

    def __init__(self, parameters: Sequence[tuple[str, nn.Parameter]], tasks: int, world: World) -> None:
        self._parameters = [parameter for _, parameter in parameters]
        self._world = world
        self.widths: Mapping[str, int] = {name: parameter.numel() for name, parameter in parameters}
        sizes = [*self.widths.values()]
        self._stretch = -(-sum(sizes) // world.size)
        dtype, device = _dtype(self._parameters), world.device
        self.shard = torch.zeros(tasks, self._stretch, dtype=dtype, device=device)
        self.spans = _stretch_spans([name for name, _ in parameters], sizes, world.rank * self._stretch, self._stretch)
        # What a worker sends: its own gradients, cut into one stretch for each worker.
        self._sent = torch.zeros(world.size, self._stretch, dtype=dtype, device=device) if world.size > 1 else None
        self._pending: tuple[int, PendingSum] | None = None
        self._begun: set[int] = set()

    def clear(self) -> None:
        """See :class:`GradientMatrix`; rows are written over, and those that nobody takes are zeroed in the end."""
        self._begun.clear()

    def take(self, row: int) -> None:
        """See :class:`GradientMatrix`. A worker without a gradient adds zeros."""
        if self._sent is None:
            _put(self.shard[row], self._parameters, add=row in self._begun)
            self._begun.add(row)
        else:
            self._land()
            _put(self._sent.view(-1), self._parameters, add=False)
            self._pending = row, begin_sum(self._sent, self._world)
        for parameter in self._parameters:
            parameter.grad = None

    def finish(self) -> None:
        """See :class:`GradientMatrix`."""
        self._land()
        for row in set(range(len(self.shard))) - self._begun:
            self.shard[row].zero_()

    def _land(self) -> None:
        if self._pending is not None:
            row, pending = self._pending
            self._pending = None
            if row in self._begun:
                self.shard[row] += pending.wait()
            else:
                self.shard[row] = pending.wait()
                self._begun.add(row)

    def install(self, update: Tensor) -> None:
        """See :class:`GradientMatrix`."""
        whole, at = join_parts(update, self._world), 0
        for parameter in self._parameters:
            parameter.grad = whole[at : at + parameter.numel()].view_as(parameter).to(parameter.dtype)
            at += parameter.numel()


def inner_products(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right.T`` ``[T, T]`` in float64, for ``[T, n]``."""
    total = torch.zeros(left.shape[0], right.shape[0], dtype=torch.float64, device=left.device)
    for start in range(0, left.shape[1], _CHUNK):
        total += left[:, start : start + _CHUNK] @ right[:, start : start + _CHUNK].T
    return total


def _dtype(parameters: Sequence[nn.Parameter]) -> torch.dtype:
    dtype = torch.float32
    for parameter in parameters:
        dtype = torch.promote_types(dtype, parameter.dtype)
    return dtype


def _put(flat: Tensor, parameters: Sequence[nn.Parameter], *, add: bool) -> None:
    """Write all gradients into a row, or add them to what is there; the end of a longer row stays as it is."""
    at = 0
    for parameter in parameters:
        target = flat[at : at + parameter.numel()]
        if parameter.grad is not None:
            target.add_(parameter.grad.reshape(-1)) if add else target.copy_(parameter.grad.reshape(-1))
        elif not add:
            target.zero_()
        at += parameter.numel()


def _stretch_spans(names: Sequence[str], sizes: Sequence[int], first: int, count: int) -> tuple[Span, ...]:
    """What elements ``first .. first + count - 1`` of all parameters are; the last stretch may reach past the end."""
    spans, at = [], 0
    for name, size in zip(names, sizes, strict=True):
        start, stop = max(at, first), min(at + size, first + count)
        if start < stop:
            spans.append(Span(name, start - at, stop - start))
        at += size
    return tuple(spans)
