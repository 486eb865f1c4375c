"""How the weights of a step come about where they depend on the gradients, and how they reach the trunk.

- *exact*: the rows of J are the global task gradients; their combination becomes the trunk's gradient.
- *features*, *sketch*: only inner products are made; an ordinary pass with the weights follows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distmtl.balancing.base import State, Vector
from distmtl.balancing.shards import Memories, ShardBalancer
from distmtl.data.batch import StepBatch
from distmtl.keyed import key_of, uniform
from distmtl.parallel.gradient_matrix import GradientMatrix, inner_products
from distmtl.parallel.sketch import GradientSketch
from distmtl.parallel.world import World
from distmtl.training.facts import StepFacts
from distmtl.training.task_gradients import TaskPasses
from distmtl.training.weighing import Balance, Weigher


@dataclass(frozen=True)
class Coefficients:
    """What task losses are multiplied with.

    Attributes:
        losses: For each task's loss sum, so that it is a share of task weight x mean loss [T].
        means: For each task's loss sum, so that it is a share of the mean loss [T].
        averaged: What the trunk's gradients are divided by when workers add theirs up.
        scale: The loss scale of fp16.
        scaled: Multiplies a loss with it.
    """

    losses: Vector
    means: Vector
    averaged: int
    scale: float
    scaled: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Routed:
    """What a route made of a step: the worker's part of the mean losses [T], and what was decided."""

    losses: Tensor
    balance: Balance


class ExactRoute:
    """Combines the global task gradients themselves.

    Args:
        passes: The worker's passes.
        matrix: Its columns of J.
        weigher: Decides.
        world: The workers.
        seed: The run's seed.
    """

    def __init__(self, passes: TaskPasses, matrix: GradientMatrix, weigher: Weigher, world: World, seed: int) -> None:
        self.matrix = matrix
        self._passes, self._weigher, self._world, self._seed = passes, weigher, world, seed

    def empty_memories(self) -> dict[str, Tensor]:
        """What the balancer remembers before the first step, of this worker's columns."""
        balancer = self._weigher.balancer
        names = balancer.memories if isinstance(balancer, ShardBalancer) else ()
        return {name: torch.zeros_like(self.matrix.shard) for name in names}

    def __call__(
        self, batch: StepBatch, facts: StepFacts, state: State, memories: Memories, with_: Coefficients
    ) -> Routed:
        """Leave the combined gradient in the trunk's parameters, and each task's own in its head's; a collective."""
        matrix = self.matrix
        matrix.clear()
        sums = self._passes.differentiate(batch, facts, with_.losses * with_.averaged, with_.scaled, matrix)
        matrix.finish()
        means = sums * torch.from_numpy(with_.means).to(sums)
        partial = inner_products(matrix.shard, matrix.shard) / with_.scale**2
        gramian, losses = summed(partial / matrix.copies, means, self._world)
        view = self._weigher.view(batch.step, facts.present, losses, gramian)
        balancer = self._weigher.balancer
        if isinstance(balancer, ShardBalancer) and np.isfinite(gramian).all():
            shard = matrix.shard if with_.scale == 1.0 else matrix.shard / with_.scale
            vectors, kept = balancer.vectors(shard, view, memories)
            own = balancer.products(shard, vectors, kept).double() / matrix.copies
            seen = self._weigher.view(batch.step, facts.present, losses, summed(own, means * 0.0, self._world)[0])
            answer = self._weigher.ask(seen, state)
            update = balancer.combine(vectors, answer.weights, lambda: self._chance(batch.step, shard))
            matrix.install((update * with_.scale).to(matrix.shard.dtype))
            return Routed(means, Balance(answer.weights, answer.state, kept, view))
        balance = self._weigher.ask(view, state)
        matrix.install(torch.from_numpy(balance.weights).to(matrix.shard) @ matrix.shard)
        return Routed(means, Balance(balance.weights, balance.state, memories, view))

    def _chance(self, step: int, like: Tensor) -> Tensor:
        """A number in [0, 1) for each of this worker's columns ``[n]``."""
        found = torch.zeros(like.shape[1], dtype=torch.float64, device=like.device)
        at = 0
        for span in self.matrix.spans:
            numbers = torch.arange(span.start, span.start + span.size, device=like.device)
            found[at : at + span.size] = uniform(numbers, key_of(self._seed, step, "chance", span.name))
            at += span.size
        return found


class SketchRoute:
    """Weighs by inner products of sketches: one gradient is alive at a time, and T sketches are sent.

    Args:
        passes: The worker's passes.
        sketch: Where gradients are added to.
        weigher: Decides.
        world: The workers.
        seed: The run's seed.
        averaged: What the trunk's gradients are divided by in these passes.
        heads: Parameters whose gradients these passes leave behind; they are dropped.
    """

    def __init__(
        self, passes: TaskPasses, sketch: GradientSketch, weigher: Weigher, world: World, seed: int, averaged: int,
        heads: Sequence[torch.nn.Parameter],
    ) -> None:  # fmt: skip
        self._passes, self._sketch, self._weigher, self._world = passes, sketch, weigher, world
        self._seed, self._averaged, self._heads = seed, averaged, heads

    def __call__(
        self, batch: StepBatch, facts: StepFacts, state: State, memories: Memories, with_: Coefficients
    ) -> Routed:
        """Decide; a collective. No gradient is left behind."""
        self._sketch.begin(self._seed, batch.step)
        sums = self._passes.differentiate(batch, facts, with_.losses * self._averaged, with_.scaled, self._sketch)
        for parameter in self._heads:
            parameter.grad = None
        # Sketches are sums over workers, inner products of sums are not.
        added = self._world.sum(self._sketch.shard.clone()) / (self._sketch.copies * with_.scale)
        means = sums * torch.from_numpy(with_.means).to(sums)
        losses = self._world.sum(means.clone()).cpu().numpy()
        gramian: npt.NDArray[np.float64] = (added @ added.T).cpu().numpy()
        view = self._weigher.view(batch.step, facts.present, losses, gramian)
        balance = self._weigher.ask(view, state)
        return Routed(means, Balance(balance.weights, balance.state, memories, view))


class FeatureRoute:
    """Weighs by the gradients at the trunk's output (MGDA-UB; Sener & Koltun 2018): T x T numbers are sent.

    Args:
        passes: The worker's passes.
        weigher: Decides.
        world: The workers.
    """

    def __init__(self, passes: TaskPasses, weigher: Weigher, world: World) -> None:
        self._passes, self._weigher, self._world = passes, weigher, world

    def __call__(
        self, batch: StepBatch, facts: StepFacts, state: State, memories: Memories, with_: Coefficients
    ) -> Routed:
        """Decide; a collective. No gradient is left behind."""
        products, sums = self._passes.compare_features(batch, facts, with_.losses, with_.scaled)
        means = sums * torch.from_numpy(with_.means).to(sums)
        gramian, losses = summed(products / with_.scale**2, means, self._world)
        view = self._weigher.view(batch.step, facts.present, losses, gramian)
        balance = self._weigher.ask(view, state)
        return Routed(means, Balance(balance.weights, balance.state, memories, view))


Route = ExactRoute | SketchRoute | FeatureRoute


def summed(products: Tensor, means: Tensor, world: World) -> tuple[npt.NDArray[np.float64], Vector]:
    """Sums over the workers of a ``[T, T]`` matrix and of the mean losses [T], in one message."""
    count = len(means)
    message = world.sum(torch.cat([products.double().reshape(-1).to(means.device), means.double()])).cpu().numpy()
    gramian = message[: count * count].reshape(count, count)
    return (gramian + gramian.T) / 2.0, message[count * count :]
