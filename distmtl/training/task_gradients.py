"""Differentiating one task after the other: the exact route, and the two that only look at the gradients.

Each source's rows go through the trunk once, and every task of that source is differentiated through that one pass. All
workers take the tasks in the same order and the same number of micro-batches, since each ends in a collective.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distmtl.data.batch import SourceBatch, StepBatch
from distmtl.models.base import Features
from distmtl.parallel.ddp import quiet
from distmtl.parallel.gradient_matrix import inner_products
from distmtl.parallel.world import World
from distmtl.training.facts import StepFacts
from distmtl.training.forward import LossPass
from distmtl.training.micro import Micro, cut, most_micros, to_device

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]


class TakesGradients(Protocol):
    """Something that gradients in ``parameter.grad`` are added to, by task."""

    def take(self, row: int) -> None:
        """Add the gradients to a task's, and drop them."""
        ...


class TaskPasses:
    """One worker's passes over the rows of a step, source by source.

    Args:
        forward: The forward pass.
        world: The workers.
        micro_rows: Most rows of a pass.
    """

    def __init__(self, forward: LossPass, world: World, micro_rows: int | None) -> None:
        self._forward, self._world, self._micro_rows = forward, world, micro_rows

    def differentiate(
        self, batch: StepBatch, facts: StepFacts, coefficients: Vector, scale: Callable[[Tensor], Tensor],
        rows: TakesGradients,
    ) -> Tensor:  # fmt: skip
        """Give every present task's gradient over the trunk to ``rows``; heads keep theirs in ``grad``.

        Args:
            batch: The worker's rows.
            facts: The step.
            coefficients: What each task's loss sum is multiplied with [T].
            scale: Scales a loss under fp16.
            rows: Takes the gradients.

        Returns:
            This worker's loss sums [T] float64.
        """
        sums = torch.zeros(len(facts.counts), dtype=torch.float64, device=self._world.device)
        for tasks, micro in self._micros(batch, facts):
            with quiet(self._forward.shared):
                losses, _ = self._forward.apart(micro, batch.step, facts.present)
                for task in tasks:
                    loss = losses[task]
                    if loss is not None:
                        sums[task] += loss.detach()
                        scaled: Any = scale(loss * float(coefficients[task]))
                        scaled.backward(retain_graph=task != tasks[-1])
                    rows.take(task)
        return sums

    def compare_features(
        self, batch: StepBatch, facts: StepFacts, coefficients: Vector, scale: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Inner products of the task gradients over the trunk's *output* on this worker's rows, and the loss sums.

        The output of every row is a variable of its own, so that the products of all workers add up to the whole
        (Sener & Koltun 2018, section 3.3).

        Returns:
            ``[T, T]`` float64, times the square of fp16's loss scale, and the loss sums [T] float64.
        """
        count = len(facts.counts)
        sums = torch.zeros(count, dtype=torch.float64, device=self._world.device)
        products = torch.zeros(count, count, dtype=torch.float64, device=self._world.device)
        for tasks, micro in self._micros(batch, facts):
            leaves = _leaves(self._forward.features(micro, batch.step))
            features = leaves[0] if len(leaves) == 1 else tuple(leaves)
            losses = self._forward.from_features(micro, features, batch.step, facts.present)
            # products of half-precision numbers would lose what the numbers have
            wide = torch.promote_types(leaves[0].dtype, torch.float32)
            rows = torch.zeros(count, sum(leaf.numel() for leaf in leaves), dtype=wide, device=sums.device)
            for task in tasks:
                loss = losses[task]
                if loss is None:
                    continue
                sums[task] += loss.detach()
                found = torch.autograd.grad(
                    scale(loss * float(coefficients[task])), leaves, retain_graph=True, materialize_grads=True
                )
                rows[task] = torch.cat([gradient.reshape(-1) for gradient in found])
            products += inner_products(rows, rows)
        return products, sums

    def _micros(self, batch: StepBatch, facts: StepFacts) -> Iterator[tuple[Sequence[int], Micro]]:
        """Each source's micro-batches, with the tasks that have labels in the step."""
        for part in batch.sources:
            tasks = [
                number
                for number, (place, here) in enumerate(zip(self._forward.places, facts.present, strict=True))
                if here and place.source == part.source
            ]
            if tasks:
                for micro in self._cut(part, facts, batch.quotas[part.source]):
                    yield tasks, micro

    def _cut(self, part: SourceBatch, facts: StepFacts, quota: int) -> list[Micro]:
        moved = to_device(part, self._world.device)
        return cut([moved], self._micro_rows, most_micros(facts.rows, self._world.size, self._micro_rows, quota))


def _leaves(features: Features) -> list[Tensor]:
    parts = [features] if isinstance(features, Tensor) else list(features)
    return [part.detach().requires_grad_() for part in parts]
