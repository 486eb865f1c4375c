"""Measuring a model on a split: each row once, whatever the world size.

Every worker predicts a contiguous range of rows; rank 0 puts the ranges together in row order and computes the
metrics there, so that a metric is the same number for every world size, bit for bit where the predictions are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distmtl.data.batch import SourceBatch
from distmtl.data.blocks import LoaderSource
from distmtl.data.sweep import sweep
from distmtl.models.base import MultiTaskModel
from distmtl.parallel.fsdp import is_sharded, settle
from distmtl.parallel.world import World
from distmtl.training.facts import TaskPlace
from distmtl.training.forward import AUTOCAST
from distmtl.training.micro import to_device

Metrics = dict[str, dict[str, float]]
"""Metric values by task and metric name."""


def evaluate(
    model: MultiTaskModel,
    sources: Sequence[LoaderSource],
    places: Sequence[TaskPlace],
    world: World,
    *,
    rows: int,
    precision: str = "fp32",
) -> Metrics:
    """Metrics and mean loss of every task, on every worker; a collective.

    Args:
        model: Used in evaluation mode and put back as it was.
        sources: Splits; a task whose source is not among them is left out.
        places: The tasks.
        world: The workers.
        rows: Rows per forward pass.
        precision: As for training; metrics are computed in float32 or float64.
    """
    training = model.training
    model.eval()
    metrics: Metrics = {}
    try:
        for source in sources:
            mine = [place for place in places if place.source == source.name]
            collected = _collect(model, source, mine, world, rows, precision)
            for place in mine:
                metrics[place.task.name] = _measure(place, collected[place.task.name], world)
    finally:
        settle(model.trunk)
        model.train(training)
    return {place.task.name: metrics[place.task.name] for place in places if place.task.name in metrics}


@dataclass
class _Collected:
    predictions: list[Tensor]
    targets: list[Tensor]
    loss_sum: float = 0.0
    weight_sum: float = 0.0


@torch.no_grad()
def _collect(
    model: MultiTaskModel, source: LoaderSource, places: Sequence[TaskPlace], world: World, rows: int, precision: str
) -> Mapping[str, _Collected]:
    collected = {place.task.name: _Collected([], []) for place in places}
    for part, outputs in _outputs(model, source, places, world, rows, precision):
        for place in places:
            _add(collected[place.task.name], place, outputs[place.task.name], part)
    return collected


def _outputs(
    model: MultiTaskModel, source: LoaderSource, places: Sequence[TaskPlace], world: World, rows: int, precision: str
) -> Iterator[tuple[SourceBatch, dict[str, Tensor]]]:
    dtype = AUTOCAST.get(precision)
    for batch, counts in _batches(source, world, rows, even=is_sharded(model.trunk)):
        part = to_device(batch, world.device)
        with torch.autocast(world.device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            features = model.trunk(dict(part.inputs))
            outputs = {place.task.name: model.private[place.task.name](features) for place in places}
        if not counts:
            continue
        yield part, {name: out if out.dtype == torch.float64 else out.float() for name, out in outputs.items()}


def _batches(source: LoaderSource, world: World, rows: int, *, even: bool) -> Iterator[tuple[SourceBatch, bool]]:
    """A worker's batches, and where they must be even, others that do not count until it has as many as the rest.

    A pass through a sharded trunk is a collective, so all workers make the same number of them.
    """
    largest_share = -(-source.split.rows // world.size)
    missing = -(-largest_share // rows) if even else 0
    batch = None
    for batch in sweep(source, world.rank, world.size, rows):
        missing -= 1
        yield batch, True
    for _ in range(missing):
        yield batch or next(sweep(source, 0, source.split.rows, 1)), False


def _add(collected: _Collected, place: TaskPlace, output: Tensor, part: SourceBatch) -> None:
    target = part.targets[place.column]
    valid = place.task.valid(target)
    weights = torch.ones_like(target, dtype=torch.float64) if part.weights is None else part.weights.double()
    collected.loss_sum += float((place.task.losses(output, target).double() * weights).sum())
    collected.weight_sum += float(weights[valid].sum())
    collected.predictions.append(place.task.predictions(output)[valid].cpu())
    collected.targets.append(target[valid].cpu())


def _measure(place: TaskPlace, collected: _Collected, world: World) -> dict[str, float]:
    parts = world.gather(
        (
            torch.cat(collected.predictions) if collected.predictions else None,
            torch.cat(collected.targets) if collected.targets else None,
            collected.loss_sum,
            collected.weight_sum,
        )
    )
    values: dict[str, float] | None = None
    if parts is not None:
        predictions = torch.cat([p for p, _, _, _ in parts if p is not None])
        targets = torch.cat([t for _, t, _, _ in parts if t is not None])
        weight = sum(part[3] for part in parts)
        values = place.task.metrics(predictions, targets)
        values["loss"] = sum(part[2] for part in parts) / weight if weight > 0 else float("nan")
    measured: dict[str, float] = world.broadcast(values)
    return measured
