"""Small multi-task problems whose global steps are a pure function of the step, cut for any number of workers."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.distributed.tensor import DTensor

from distmtl.balancing.base import Balancer
from distmtl.balancing.build import Asking, choose_route
from distmtl.balancing.loss_specs import EqualSpec
from distmtl.data.batch import SourceBatch, StepBatch
from distmtl.features import InputGroup, LabelInfo, NumericColumn
from distmtl.models.build import build_model
from distmtl.models.specs import HardSharingSpec, MlpHeadSpec, TabularMlpSpec
from distmtl.parallel.specs import ParallelSpec
from distmtl.parallel.world import World
from distmtl.tasks.kinds import build_task
from distmtl.tasks.specs import TaskSpec
from distmtl.training.facts import TaskPlace, exchange
from distmtl.training.optim import set_rate
from distmtl.training.specs import AdamWSpec, CosineSpec
from distmtl.training.step import TrainStep
from distmtl.training.wiring import StepPlan, wire_step

WIDTH = 3
DDP = ParallelSpec()


@dataclass(frozen=True)
class Problem:
    """Two sources: "a" with a binary and a regression task, "b" with a multiclass task of missing labels.

    Attributes:
        rows: Rows of "a" and "b" in every step.
        missing: Share of labels that are missing.
        absent: Steps in which no row of the multiclass task has a label.
        weighted: Whether the rows of "a" have weights.
        dropout: Of the trunk and the heads.
    """

    rows: tuple[int, int] = (13, 6)
    missing: float = 0.0
    absent: frozenset[int] = frozenset()
    weighted: bool = False
    dropout: float = 0.0
    riding: tuple[str, ...] = ("click", "price", "topic")
    micro_rows: int | None = None
    objective: str = "task_mean"
    steps: int = 12
    asking: Asking | None = None
    parallel: ParallelSpec = DDP
    ema: float | None = None


def global_step(problem: Problem, step: int) -> list[SourceBatch]:
    """All rows of a step."""
    rng = np.random.Generator(np.random.Philox(key=7, counter=[0, 0, 0, step]))
    parts, start = [], 0
    for name, rows in zip("ab", problem.rows, strict=True):
        x = torch.from_numpy(rng.normal(size=(rows, WIDTH)))
        noise = torch.from_numpy(rng.normal(size=rows))
        hidden = torch.from_numpy(rng.random(rows) < problem.missing)
        if name == "a":
            targets = {
                "y_click": torch.where(hidden, -1, (x[:, 0] + noise > 0).long()),
                "y_price": torch.where(hidden.flip(0), float("nan"), 5 + 3 * x[:, 1] + noise),
            }
        else:
            hidden |= step in problem.absent
            targets = {"y_topic": torch.where(hidden, -1, (x[:, 2] > 0.5).long() + (x[:, 2] > -0.5).long())}
        weights = torch.from_numpy(rng.random(rows) + 0.5) if problem.weighted and name == "a" else None
        parts.append(SourceBatch(name, {"dense": x}, targets, weights, torch.arange(start, start + rows)))
        start += rows
    return parts


def share(problem: Problem, step: int, rank: int, size: int) -> StepBatch:
    """A worker's part of a step: a contiguous cut, as the plan makes it."""
    parts = global_step(problem, step)
    total = sum(problem.rows)
    first, last = rank * total // size, (rank + 1) * total // size
    kept = []
    for part in parts:
        rows = (part.positions >= first) & (part.positions < last)
        kept.append(
            SourceBatch(
                part.source,
                {k: v[rows] for k, v in part.inputs.items()},
                {k: v[rows] for k, v in part.targets.items()},
                None if part.weights is None else part.weights[rows],
                part.positions[rows],
            )
        )
    return StepBatch(step, tuple(kept), {p.source: p.rows for p in parts})


def places() -> tuple[TaskPlace, ...]:
    """The tasks and where their labels are."""

    def label(column: str, classes: int | None, mean: float = 0.0, std: float = 1.0) -> LabelInfo:
        counts = tuple([10] * classes) if classes else None
        return LabelInfo(column, 100, 10, mean, std, 0.0, (classes or 10) - 1.0, None, counts)

    specs = [
        ("click", "a", "y_click", "binary", label("y_click", 2)),
        ("price", "a", "y_price", "regression", label("y_price", None, 5.0, 3.0)),
        ("topic", "b", "y_topic", "multiclass", label("y_topic", 3)),
    ]
    return tuple(
        TaskPlace(
            build_task(name, TaskSpec(source=source, target=column, kind=kind), info),  # type: ignore[arg-type]
            source,
            column,
            weight,
        )
        for (name, source, column, kind, info), weight in zip(specs, (1.0, 0.5, 2.0), strict=True)
    )


def build_step(problem: Problem, balancer: Balancer, world: World) -> tuple[TrainStep, torch.nn.Module]:
    """A step in float64, and its model."""
    column = NumericColumn("x", 0.0, 1.0, -3.0, 3.0, 0.0, (-3.0, -1.0, 0.0, 1.0, 3.0))
    columns = tuple(replace(column, name=f"x{i}") for i in range(WIDTH))
    everything = places()
    model = build_model(
        HardSharingSpec(
            trunk=TabularMlpSpec(hidden=(8,), dropout=problem.dropout),
            head=MlpHeadSpec(hidden=(4,), dropout=problem.dropout),
        ),
        [InputGroup("dense", "numeric", columns)],
        {place.task.name: place.task.outputs for place in everything},
        seed=3,
    ).double()
    step = wire_step(
        model,
        StepPlan(
            everything,
            balancer,
            problem.asking or choose_route(EqualSpec(), balancer, 2),
            problem.parallel,
            OPTIM,
            seed=3,
            precision="fp64",
            riding=problem.riding,
            objective=problem.objective,
            micro_rows=problem.micro_rows,
            ema=problem.ema,
        ),
        world,
    )
    return step, model


OPTIM = AdamWSpec(lr=0.02, weight_decay=0.1, schedule=CosineSpec(warmup_steps=2), clip_norm=1.0)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor that may be sharded, as a whole."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def train(world: World, problem: Problem, balancer: Balancer) -> dict[str, Any]:
    """Parameters and mean losses after the problem's steps."""
    step, model = build_step(problem, balancer, world)
    losses = []
    for index in range(problem.steps):
        batch = share(problem, index, world.rank, world.size)
        agreement = exchange([batch], 1, places(), world, stop=False, next_steps=1)
        set_rate(step.optimizer, OPTIM, index, problem.steps)
        outcome = step(batch, agreement.facts[0])
        losses.append(world.sum(outcome.losses.clone()).tolist())
    parameters = {name: whole(value.detach()).clone() for name, value in model.named_parameters()}
    return {"parameters": parameters, "losses": losses}
