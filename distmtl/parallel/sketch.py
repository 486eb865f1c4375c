"""Sketches of task gradients: a few thousand numbers each, whose inner products are about those of the gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from distmtl.keyed import hashes, key_of
from distmtl.parallel.fsdp import local
from distmtl.parallel.gradient_matrix import Span


class GradientSketch:
    """Count sketches of the gradients that a worker has made (Charikar, Chen & Farach-Colton 2002).

    Element e of a gradient is added, with a random sign, to one of ``size`` numbers; sign and place are hashes of
    (seed, step, parameter, element). A sketch is linear, so that the sum of the workers' sketches is that of the sum
    of their gradients. The expected inner product of two sketches is that of the gradients, with a standard deviation
    of at most ``sqrt(2 / size)`` times the product of their norms.

    Args:
        parameters: The trunk's.
        spans: What of each parameter this worker's gradients are of, one entry per parameter.
        tasks: T.
        size: Numbers in a sketch.
        copies: How many workers have the same gradients.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], spans: Sequence[Span], tasks: int, size: int, copies: int
    ) -> None:
        self.copies = copies
        self._parameters, self._spans, self._size = list(parameters), list(spans), size
        like = local(self._parameters[0])
        self.shard = torch.zeros(tasks, size, dtype=torch.float64, device=like.device)
        self._places: list[tuple[Tensor, Tensor]] = []

    def begin(self, seed: int, step: int) -> None:
        """Forget all sketches, and draw signs and places for a step."""
        self.shard.zero_()
        self._places = [self._drawn(span, seed, step) for span in self._spans]

    def take(self, row: int) -> None:
        """Add the parameters' gradients to a task's sketch, and drop them."""
        for parameter, (sign, place) in zip(self._parameters, self._places, strict=True):
            if parameter.grad is not None and place.numel():
                values = local(parameter.grad).reshape(-1).to(torch.float64)
                self.shard[row].index_add_(0, place, values * sign)
            parameter.grad = None

    def _drawn(self, span: Span, seed: int, step: int) -> tuple[Tensor, Tensor]:
        numbers = torch.arange(span.start, span.start + span.size, device=self.shard.device)
        mixed = hashes(numbers, key_of(seed, step, "sketch", span.name))
        return torch.where(mixed < 0, -1, 1).to(torch.int8), ((mixed & 0x7FFFFFFF) % self._size).to(torch.int32)


def whole_spans(parameters: Sequence[tuple[str, nn.Parameter]]) -> list[Span]:
    """The spans of a worker that has all elements of every parameter."""
    return [Span(name, 0, parameter.numel()) for name, parameter in parameters]
