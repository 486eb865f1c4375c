"""What every worker knows of the coming steps before it computes them.

A task's mean needs the number of valid labels in the *global* step. Where labels cannot be missing it follows from
the plan; otherwise each worker counts its own and the counts of many prefetched steps are summed in one message,
because a small all-reduce per step costs as much as a small model's whole backward pass. The same message carries
the decisions that all workers must take on the same step: whether to stop, whether a worker could not read its share,
and how many steps the next message covers. Its length and the way it is summed follow from what all workers know, so
a worker that could not read its share sends one like the others'.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from distmtl.data.batch import StepBatch
from distmtl.parallel.world import World
from distmtl.tasks.kinds import Task

_HEAD = 3
"""Numbers of the message before the counts."""


@dataclass(frozen=True)
class TaskPlace:
    """A task and where its labels are.

    Attributes:
        task: The task.
        source: The source of its labels.
        column: Their column.
        weight: The task's weight in the objective.
        complete: Whether no row of the train split lacks a label.
        countable: Whether the plan alone tells the sum of row weights of a step: no label is missing, none weighted.
        weighted: Whether the source's rows have weights.
    """

    task: Task
    source: str
    column: str
    weight: float
    complete: bool = False
    countable: bool = False
    weighted: bool = False


@dataclass(frozen=True)
class StepFacts:
    """Global values of one step, the same on every worker.

    Attributes:
        counts: Sum of the row weights of each task's valid labels [T]; 0 where the task is absent.
        rows: Rows of the step over all sources.
    """

    counts: npt.NDArray[np.float64]
    rows: int

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Whether each task has a valid label in this step [T]."""
        return self.counts > 0.0


@dataclass(frozen=True)
class Agreement:
    """What one exchange settles for all workers.

    Attributes:
        facts: One entry per step; none if ``unread``.
        stop: Whether any worker was asked to stop.
        unread: Whether any worker could not read its share of these steps.
        next_steps: How many steps the next exchange covers.
    """

    facts: tuple[StepFacts, ...]
    stop: bool
    unread: bool
    next_steps: int


def exchange(
    batches: Sequence[StepBatch],
    steps: int,
    places: Sequence[TaskPlace],
    world: World,
    *,
    stop: bool,
    next_steps: int,
) -> Agreement:
    """Agree on the facts of the coming steps, on stopping, and on the length of the next exchange (rank 0's wish).

    Args:
        batches: This worker's share of the steps; fewer of them if it could not read one.
        steps: How many steps this exchange covers, on every worker.
        places: The tasks.
        world: The workers.
        stop: Whether this worker was asked to stop.
        next_steps: How many steps this worker would have the next exchange cover.
    """
    message = torch.zeros(_HEAD + steps * len(places), dtype=torch.float64)
    counts = message[_HEAD:].view(steps, len(places)).numpy()
    for row, batch in zip(counts, batches, strict=False):
        row[:] = local_counts(batch, places)
    message[0] = float(stop)
    message[1] = float(len(batches) < steps)
    message[2] = float(next_steps) if world.rank == 0 else 0.0
    if world.size > 2 and any(place.weighted for place in places):
        parts = world.all_gather(message.clone())
        message.zero_()
        for part in parts:
            message += part
    else:
        world.sum(message)
    stop, unread, agreed = bool(message[0] > 0), bool(message[1] > 0), int(message[2])
    if unread:
        return Agreement((), stop, unread, agreed)
    for row, batch in zip(counts, batches, strict=True):
        _fill_planned(row, batch.quotas, places)
    facts = tuple(StepFacts(row.copy(), sum(b.quotas.values())) for row, b in zip(counts, batches, strict=True))
    return Agreement(facts, stop, unread, agreed)


def local_counts(batch: StepBatch, places: Sequence[TaskPlace]) -> list[float]:
    """This worker's sum of row weights over each task's valid labels; 0 for tasks that the plan counts."""
    sources = {part.source: part for part in batch.sources}
    counts = []
    for place in places:
        part = sources.get(place.source)
        if part is None or place.countable or part.rows == 0:
            counts.append(0.0)
            continue
        valid = place.task.valid(part.targets[place.column])
        counts.append(float(valid.sum() if part.weights is None else part.weights[valid].sum(dtype=torch.float64)))
    return counts


def _fill_planned(row: npt.NDArray[np.float64], quotas: Mapping[str, int], places: Sequence[TaskPlace]) -> None:
    for index, place in enumerate(places):
        if place.countable:
            row[index] = quotas.get(place.source, 0)
