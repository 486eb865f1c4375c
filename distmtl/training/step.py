"""One optimizer update of the whole job.

The objective is ``sum over tasks of weight x balancer weight x mean over the task's valid labels in the global
step``. Each worker computes its rows' part of every mean with the global count as the denominator, so that the sum
of the workers' gradients is the gradient of the objective, whatever the split of the rows. Balancers that look at the
gradients see those of the whole step too (:mod:`distmtl.training.routes`).
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from distmtl.balancing.base import Needs, State
from distmtl.balancing.shards import Memories
from distmtl.data.batch import StepBatch
from distmtl.parallel.ddp import quiet
from distmtl.parallel.fsdp import settle
from distmtl.parallel.norms import clip_gradients, is_finite, total_norm
from distmtl.parallel.reduce import sum_gradients
from distmtl.parallel.world import World
from distmtl.training.diagnostics import describe
from distmtl.training.ema import MovingAverage
from distmtl.training.facts import StepFacts
from distmtl.training.forward import LossPass
from distmtl.training.loss_scale import LossScale
from distmtl.training.micro import Micro, blank_row, cut, most_micros, to_device
from distmtl.training.routes import Coefficients, ExactRoute, Route
from distmtl.training.weighing import Balance, Weigher

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StepOutcome:
    """What a step leaves behind.

    Attributes:
        losses: This worker's part of each task's mean loss [T] float64; the sum over workers is the mean.
        weights: Balancer weight x task weight [T]; 0 where the task is absent.
        norm: Norm of the whole gradient before clipping, a scalar on the device; None if it was not asked for.
        skipped: Whether fp16 overflowed, so that no worker updated anything.
        balance: What the balancer saw and said.
    """

    losses: Tensor
    weights: Vector
    norm: Tensor | None
    skipped: bool
    balance: Balance


@dataclass(frozen=True)
class StepSettings:
    """Constants of the run that a step needs.

    Attributes:
        objective: What a task's loss sum is divided by: its valid labels, or all rows of the step.
        clip_norm: Largest norm of the whole gradient.
        micro_rows: Most rows of a forward pass.
        averaged: What the trunk's wrapper divides the sum of the workers' gradients by.
        even: Whether all workers must make the same number of forward passes.
    """

    objective: str = "task_mean"
    clip_norm: float | None = None
    micro_rows: int | None = None
    averaged: int = 1
    even: bool = False


class TrainStep:
    """Runs steps. Holds nothing between them but the balancer's state.

    Args:
        forward: The forward pass; its ``shared`` module reduces its own gradients if it is in DDP or FSDP.
        riding: Tasks whose heads stand in ``shared``; the others' gradients are reduced here.
        weigher: Weighs the tasks.
        route: How gradients are looked at; None for balancers that do not.
        optimizer: Updates the parameters.
        scaler: Scales the loss under fp16.
        world: The workers.
        settings: Constants of the run.
        ema: The moving average of the parameters, if there is one.
    """

    def __init__(  # noqa: PLR0913 - each is one part of a step
        self,
        forward: LossPass,
        riding: frozenset[str],
        weigher: Weigher,
        route: Route | None,
        optimizer: torch.optim.Optimizer,
        scaler: LossScale,
        world: World,
        settings: StepSettings,
        *,
        ema: MovingAverage | None = None,
    ) -> None:
        self.balancer_state: State = weigher.init(len(forward.places))
        self.memories: Memories = route.empty_memories() if isinstance(route, ExactRoute) else {}
        self.optimizer = optimizer
        self.scaler = scaler
        self.weigher = weigher
        self.route = route
        self.ema = ema
        self._solved: Balance | None = None  # the last answer that was made of gradients
        self._forward = forward
        self._world = world
        self._settings = settings
        self._task_weights = np.array([place.weight for place in forward.places])
        self._parameters = [p for p in forward.model.parameters() if p.requires_grad]
        self._private = {
            place.task.name: [p for p in forward.model.private[place.task.name].parameters() if p.requires_grad]
            for place in forward.places
        }
        self._riding = riding

    def __call__(self, batch: StepBatch, facts: StepFacts, *, measure_norm: bool = True) -> StepOutcome:
        """Update the parameters with this worker's share of a step; a collective.

        The learning rate must already be set. The norm of the gradient costs a pass over it, so it can be left out
        where it is not clipped.
        """
        self.optimizer.zero_grad(set_to_none=True)
        if not facts.present.any():  # no row of the step has a label: nothing is updated
            none = torch.zeros(len(facts.counts), dtype=torch.float64, device=self._world.device)
            nothing = Balance(np.zeros(len(facts.counts)), self.balancer_state, self.memories)
            return StepOutcome(none, nothing.weights, None, skipped=True, balance=nothing)
        losses, balance = self._backward(batch, facts)
        self.scaler.unscale(self._parameters)
        norm = None
        if measure_norm or self._settings.clip_norm is not None:
            norm = total_norm(self._parameters)
            if self._settings.clip_norm is not None:
                clip_gradients(self._parameters, norm, self._settings.clip_norm)
        skipped = self.scaler.update(self.optimizer)
        if not skipped:
            if balance.view is not None and balance.view.gramian is not None:
                self._solved = balance
            self.balancer_state, self.memories = self._after(batch, facts, balance), balance.memories
            if self.ema is not None:
                self.ema.update(batch.step)
        return StepOutcome(losses, balance.weights * self._task_weights, norm, skipped, balance)

    def warm_up(self, batch: StepBatch) -> None:
        """One backward pass that updates nothing; a collective.

        DDP arranges its buckets anew after the first one, and the arrangement decides the order of summation over
        three workers or more: without this, the first step after a resume would sum in another order.
        """
        if not isinstance(self._forward.shared, DistributedDataParallel):
            return
        blank = tuple(to_device(blank_row(part), self._world.device) for part in batch.sources)
        sums = self._forward(blank, batch.step, np.ones(len(self._private), dtype=np.bool_))
        (sums * 0.0).sum().backward()
        self.optimizer.zero_grad(set_to_none=True)

    def averaged(self) -> AbstractContextManager[None]:
        """Inside the block, the model is what evaluations measure: its moving average, if there is one."""
        return nullcontext() if self.ema is None else self.ema.applied()

    def is_finite(self) -> bool:
        """Whether every parameter is; the same on every worker. A collective."""
        return is_finite(self._parameters, self._world)

    def gradient_line(self) -> dict[str, Any]:
        """For the metrics: what the last Gramian says of the tasks; empty where none is made."""
        if self._solved is None:
            return {}
        names = [place.task.name for place in self._forward.places]
        return {"gradients": describe(self._solved, self.weigher.balancer, names)}

    def _backward(self, batch: StepBatch, facts: StepFacts) -> tuple[Tensor, Balance]:
        """Leave every parameter's global gradient in it, scaled under fp16; returns the losses' parts."""
        if self.route is None:
            losses, balance = self._by_losses(batch, facts)
            self._reduce_private(facts, self._settings.averaged)
            return losses, balance
        held = self.weigher.held(batch.step, facts.present, self.balancer_state)
        if held is not None:
            balance = Balance(held, self.balancer_state, self.memories)
            return self._weighted(batch, facts, held), balance
        with_ = self._coefficients(facts)
        routed = self.route(batch, facts, self.balancer_state, self.memories, with_)
        if not isinstance(self.route, ExactRoute):
            return self._weighted(batch, facts, routed.balance.weights), routed.balance
        if self._on_loss:
            self._scale_private(routed.balance.weights)
        self._reduce_private(facts, with_.averaged)
        return routed.losses, routed.balance

    def _by_losses(self, batch: StepBatch, facts: StepFacts) -> tuple[Tensor, Balance]:
        """The loss route: weights from the losses alone, and one backward pass."""
        micros, means = self._micros(batch, facts), torch.from_numpy(_inverse(facts.counts)).to(self._world.device)
        asked = self.weigher.balancer.needs is not Needs.NOTHING
        balance = None if asked else self._ask(batch.step, facts, None)
        if asked and self._settings.micro_rows is not None:
            # The weights must be known before the first backward pass, which takes one forward pass more. Workers may
            # have different numbers of micro-batches, so whether they take it must not depend on these.
            balance = self._ask(batch.step, facts, self._losses(micros, batch.step, facts))
        sums = torch.zeros_like(means)
        for micro in micros:
            with nullcontext() if micro is micros[-1] else quiet(self._forward.shared):
                here = self._forward(micro, batch.step, facts.present)
                sums += here.detach()
                if balance is None:
                    balance = self._ask(batch.step, facts, self._world.sum(sums * means))
                coefficients = self._coefficients(facts).losses * balance.weights * self._settings.averaged
                self.scaler.scale((here * torch.from_numpy(coefficients).to(here)).sum()).backward()
        if balance is None:
            raise AssertionError("a step has at least one micro-batch")
        return sums * means, balance

    def _weighted(self, batch: StepBatch, facts: StepFacts, weights: Vector) -> Tensor:
        """One ordinary backward pass with weights that are known, on the loss or on the trunk alone."""
        micros, means = self._micros(batch, facts), torch.from_numpy(_inverse(facts.counts)).to(self._world.device)
        coefficients = self._coefficients(facts).losses * self._settings.averaged
        if self._on_loss:
            coefficients = coefficients * weights
        sums = torch.zeros_like(means)
        for micro in micros:
            with nullcontext() if micro is micros[-1] else quiet(self._forward.shared):
                here = self._forward(micro, batch.step, facts.present, None if self._on_loss else weights)
                sums += here.detach()
                self.scaler.scale((here * torch.from_numpy(coefficients).to(here)).sum()).backward()
        self._reduce_private(facts, self._settings.averaged)
        return sums * means

    @property
    def _on_loss(self) -> bool:
        """Whether weights multiply the loss, so that heads feel them too."""
        return self.weigher.balancer.multiplies == "loss"

    def _ask(self, step: int, facts: StepFacts, losses: Tensor | None) -> Balance:
        known = None if losses is None else losses.cpu().numpy()
        return self.weigher.ask(self.weigher.view(step, facts.present, known, None), self.balancer_state)

    def _after(self, batch: StepBatch, facts: StepFacts, balance: Balance) -> State:
        """The state after the update; some balancers look at the losses of the same rows once more (FAMO)."""
        after = getattr(self.weigher.balancer, "after", None)
        if after is None or balance.view is None:
            return balance.state
        losses = self._losses(self._micros(batch, facts), batch.step, facts).cpu().numpy()
        known = np.where(facts.present, losses, np.nan)
        own: State = after(balance.view, known, self.weigher.own(balance.state))
        return self.weigher.kept(own, balance.weights, facts.present, balance.state)

    def _losses(self, micros: Sequence[Micro], step: int, facts: StepFacts) -> Tensor:
        """The tasks' mean losses over the whole step [T]; a collective."""
        sums = torch.zeros(len(facts.counts), dtype=torch.float64, device=self._world.device)
        with torch.no_grad():
            for micro in micros:
                sums += self._forward(micro, step, facts.present)
        settle(self._forward.model.trunk)
        return self._world.sum(sums * torch.from_numpy(_inverse(facts.counts)).to(sums))

    def _micros(self, batch: StepBatch, facts: StepFacts) -> list[Micro]:
        rows, settings = facts.rows, self._settings
        at_least = most_micros(rows, self._world.size, settings.micro_rows) if settings.even else 1
        cuts = cut(batch.sources, settings.micro_rows, at_least)
        return [tuple(to_device(part, self._world.device) for part in micro) for micro in cuts]

    def _coefficients(self, facts: StepFacts) -> Coefficients:
        """What loss sums are multiplied with so that they are shares of task weight x mean loss."""
        inverse = _inverse(facts.counts)
        shares = inverse if self._settings.objective == "task_mean" else facts.present / float(facts.rows)
        wrapped = isinstance(self._forward.shared, DistributedDataParallel)
        averaged = 1 if wrapped else self._settings.averaged  # passes of single tasks keep DDP quiet
        return Coefficients(shares * self._task_weights, inverse, averaged, self.scaler.value, self.scaler.scale)

    def _scale_private(self, weights: Vector) -> None:
        for parameters, weight in zip(self._private.values(), weights, strict=True):
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(float(weight))

    def _reduce_private(self, facts: StepFacts, averaged: int) -> None:
        """Sum the gradients of private parameters outside DDP; drop those of absent tasks (idle law)."""
        outside: list[nn.Parameter] = []
        for (name, parameters), present in zip(self._private.items(), facts.present, strict=True):
            if not present:
                for parameter in parameters:
                    parameter.grad = None
            elif name not in self._riding:
                outside.extend(parameters)
        sum_gradients(outside, self._world, scale=1.0 / averaged)


def _inverse(counts: Vector) -> Vector:
    return 1.0 / np.where(counts > 0.0, counts, np.inf)
