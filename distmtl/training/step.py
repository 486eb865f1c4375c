"""One optimizer update of the whole job.

The objective is ``sum over tasks of weight x balancer weight x mean over the task's valid labels in the global
step``. Each worker computes its rows' part of every mean with the global count as the denominator, so that the sum
of the workers' gradients is the gradient of the objective, whatever the split of the rows.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from distmtl.balancing.base import Balancer, Needs, State, StepView
from distmtl.data.batch import StepBatch
from distmtl.parallel.reduce import sum_gradients
from distmtl.parallel.world import World
from distmtl.training.facts import StepFacts
from distmtl.training.forward import LossPass
from distmtl.training.micro import Micro, blank_row, cut, to_device

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StepOutcome:
    """What a step leaves behind.

    Attributes:
        losses: This worker's part of each task's mean loss [T] float64; the sum over workers is the mean.
        weights: Balancer weight x task weight [T]; 0 where the task is absent.
        norm: Norm of the whole gradient before clipping, a scalar on the device; None if it was not asked for.
        skipped: Whether fp16 overflowed, so that no worker updated anything.
    """

    losses: Tensor
    weights: Vector
    norm: Tensor | None
    skipped: bool


@dataclass(frozen=True)
class StepSettings:
    """Constants of the run that a step needs."""

    objective: str = "task_mean"
    clip_norm: float | None = None
    micro_rows: int | None = None


class TrainStep:
    """Runs steps. Holds nothing between them but the balancer's state.

    Args:
        forward: The forward pass; its ``shared`` module reduces its own gradients if it is in DDP.
        riding: Tasks whose heads stand in ``shared``; the others' gradients are reduced here.
        balancer: Weighs the tasks.
        optimizer: Updates the parameters.
        scaler: Scales the loss under fp16; disabled otherwise.
        world: The workers.
        settings: Constants of the run.
    """

    def __init__(
        self,
        forward: LossPass,
        riding: frozenset[str],
        balancer: Balancer,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        world: World,
        settings: StepSettings,
    ) -> None:
        self.balancer_state: State = balancer.init(len(forward.places))
        self.optimizer = optimizer
        self.scaler = scaler
        self._forward = forward
        self._balancer = balancer
        self._world = world
        self._settings = settings
        self._task_weights = np.array([place.weight for place in forward.places])
        self._parameters = [p for p in forward.model.parameters() if p.requires_grad]
        self._private = {
            place.task.name: [p for p in forward.model.private[place.task.name].parameters() if p.requires_grad]
            for place in forward.places
        }
        self._riding = riding
        # DDP averages over workers where the objective wants the sum
        self._averaged = world.size if isinstance(forward.shared, DistributedDataParallel) else 1

    def __call__(self, batch: StepBatch, facts: StepFacts, *, measure_norm: bool = True) -> StepOutcome:
        """Update the parameters with this worker's share of a step; a collective.

        The learning rate must already be set. The norm of the gradient costs a pass over it, so it can be left out
        where it is not clipped.
        """
        self.optimizer.zero_grad(set_to_none=True)
        micros = [
            tuple(to_device(part, self._world.device) for part in micro)
            for micro in cut(batch.sources, self._settings.micro_rows)
        ]
        losses, weights, state = self._backward(micros, batch.step, facts)
        if not facts.present.any():  # no row of the step has a label: nothing is updated
            self.optimizer.zero_grad(set_to_none=True)
            return StepOutcome(losses, weights, None, skipped=True)
        self._reduce_private(facts)
        self.scaler.unscale_(self.optimizer)
        norm = self._clip() if measure_norm or self._settings.clip_norm is not None else None
        skipped = self._update()
        if not skipped:
            self.balancer_state = state
        return StepOutcome(losses, weights, norm, skipped)

    def warm_up(self, batch: StepBatch) -> None:
        """One backward pass that updates nothing; a collective.

        DDP arranges its buckets anew after the first one, and the arrangement decides the order of summation over
        three workers or more: without this, the first step after a resume would sum in another order.
        """
        if self._averaged == 1:
            return
        blank = tuple(to_device(blank_row(part), self._world.device) for part in batch.sources)
        sums = self._forward(blank, batch.step, np.ones(len(self._private), dtype=np.bool_))
        (sums * 0.0).sum().backward()
        self.optimizer.zero_grad(set_to_none=True)

    def is_finite(self) -> bool:
        """Whether every parameter is; the same on every worker."""
        return all(bool(parameter.isfinite().all()) for parameter in self._parameters)

    def _backward(self, micros: Sequence[Micro], step: int, facts: StepFacts) -> tuple[Tensor, Vector, State]:
        inverse = torch.from_numpy(1.0 / np.where(facts.present, facts.counts, np.inf)).to(self._world.device)
        sums = torch.zeros_like(inverse)
        balanced: tuple[Vector, State] | None = None
        if self._balancer.needs is Needs.NOTHING:
            balanced = self._balance(step, facts, None)
        elif self._settings.micro_rows is not None:
            # The weights must be known before the first backward pass, which takes one forward pass more. Workers may
            # have different numbers of micro-batches, so whether they take it must not depend on these.
            with torch.no_grad():
                for micro in micros:
                    sums += self._forward(micro, step, facts.present)
            balanced = self._balance(step, facts, self._world.sum(sums * inverse))
            sums.zero_()
        for micro in micros:
            with nullcontext() if micro is micros[-1] else self._no_sync():
                here = self._forward(micro, step, facts.present)
                sums += here.detach()
                if balanced is None:
                    balanced = self._balance(step, facts, self._world.sum(sums * inverse))
                loss = (here * self._coefficients(balanced[0], facts).to(here)).sum()
                self.scaler.scale(loss).backward()
        if balanced is None:
            raise AssertionError("a step has at least one micro-batch")
        return sums * inverse, balanced[0], balanced[1]

    def _balance(self, step: int, facts: StepFacts, losses: Tensor | None) -> tuple[Vector, State]:
        known = np.full(len(self._task_weights), np.nan)
        if losses is not None:
            known = np.where(facts.present, losses.cpu().numpy(), np.nan)
        weights, state = self._balancer.weights(StepView(step, facts.present, known, None), self.balancer_state)
        return np.where(facts.present, weights * self._task_weights, 0.0), state

    def _coefficients(self, weights: Vector, facts: StepFacts) -> Tensor:
        """What each task's loss sum is multiplied with [T]."""
        by_task = np.where(facts.present, facts.counts, np.inf)
        denominators = by_task if self._settings.objective == "task_mean" else float(facts.rows)
        return torch.from_numpy(weights * self._averaged / denominators)

    def _reduce_private(self, facts: StepFacts) -> None:
        """Sum the gradients of private parameters outside DDP; drop those of absent tasks (idle law)."""
        outside: list[nn.Parameter] = []
        for (name, parameters), present in zip(self._private.items(), facts.present, strict=True):
            if not present:
                for parameter in parameters:
                    parameter.grad = None
            elif name not in self._riding:
                outside.extend(parameters)
        sum_gradients(outside, self._world, scale=1.0 / self._averaged)

    def _clip(self) -> Tensor:
        norm = nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None], foreach=True)
        if self._settings.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(self._parameters, self._settings.clip_norm, norm, foreach=True)
        return norm

    def _update(self) -> bool:
        if not self.scaler.is_enabled():
            self.optimizer.step()
            return False
        before = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return bool(self.scaler.get_scale() < before)

    def _no_sync(self) -> AbstractContextManager[None]:
        shared = self._forward.shared
        return shared.no_sync() if isinstance(shared, DistributedDataParallel) else nullcontext()
