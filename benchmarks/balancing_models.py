"""The model, the rows and the steps that benchmarks/balancing.py times."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from distmtl.balancing.build import build_balancer, choose_route
from distmtl.data.batch import SourceBatch, StepBatch
from distmtl.features import LabelInfo
from distmtl.models.base import MultiTaskModel
from distmtl.parallel.specs import ParallelSpec
from distmtl.parallel.world import World
from distmtl.tasks.kinds import build_task
from distmtl.tasks.specs import TaskSpec
from distmtl.training.facts import StepFacts, TaskPlace, exchange
from distmtl.training.specs import SgdSpec
from distmtl.training.wiring import StepPlan, wire_step

INPUTS, HIDDEN, WIDTH = 512, 1024, 896
RATE = 1e-3


@dataclass(frozen=True)
class Case:
    """A problem: T regressions on the same rows.

    Attributes:
        tasks: T.
        rows: Rows of the step, over all workers.
        head: Width of the hidden layer of a head.
        labelled: Tasks that have labels in a step; the others are absent from it.
    """

    tasks: int
    rows: int = 256
    head: int = 64
    labelled: int | None = None


class Trunk(nn.Module):
    """1.44 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH), nn.ReLU())

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Features ``[N, WIDTH]``."""
        features: Tensor = self.layers(inputs["x"])
        return features


def build_model(case: Case) -> MultiTaskModel:
    """The same model whoever asks."""
    torch.manual_seed(0)
    heads = {
        f"t{i}": nn.Sequential(nn.Linear(WIDTH, case.head), nn.ReLU(), nn.Linear(case.head, 1))
        for i in range(case.tasks)
    }
    return MultiTaskModel(Trunk(), heads)


def build_rows(case: Case, world: World) -> tuple[Tensor, Tensor]:
    """A worker's inputs ``[N, INPUTS]`` and targets ``[N, T]``."""
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(case.rows, n, generator=generator) for n in (INPUTS, case.tasks))
    start, stop = (place * case.rows // world.size for place in (world.rank, world.rank + 1))
    return x[start:stop], y[start:stop]


def our_step(case: Case, world: World, balancing: Any) -> tuple[Callable[[int], None], Any]:
    """``run(k)`` makes step k; the step itself comes too, for its counters."""
    names = [f"t{i}" for i in range(case.tasks)]
    places = tuple(
        TaskPlace(
            build_task(name, TaskSpec(source="s", target=name, kind="regression"), LabelInfo(
                name, 100, 0, 0.0, 1.0, -4.0, 4.0, None, None)), "s", name, 1.0,
        )
        for name in names
    )  # fmt: skip
    balancer = build_balancer(balancing, names)
    asking = choose_route(balancing, balancer, 1)
    plan = StepPlan(places, balancer, asking, ParallelSpec(), SgdSpec(lr=RATE), 0, "fp32")
    step = wire_step(build_model(case), plan, world)
    x, y = build_rows(case, world)
    size = x.shape[0]
    absent = torch.full((size,), float("nan"))
    batches: list[tuple[StepBatch, StepFacts]] = []
    for first in range(case.tasks if case.labelled else 1):
        shown = {(first + k) % case.tasks for k in range(case.labelled or case.tasks)}
        targets = {name: y[:, i] if i in shown else absent for i, name in enumerate(names)}
        part = SourceBatch("s", {"x": x}, targets, None, torch.arange(size) + world.rank * size)
        batch = StepBatch(0, (part,), {"s": case.rows})
        batches.append((batch, exchange([batch], 1, places, world, stop=False, next_steps=1).facts[0]))
    step.warm_up(batches[0][0])

    def run(k: int) -> None:
        batch, facts = batches[k % len(batches)]
        step(batch._replace(step=k), facts, measure_norm=False)

    return run, step


def bare_losses(model: MultiTaskModel, x: Tensor, y: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The trunk's features and the mean losses, by hand; as our regressions have them."""
    features = model.trunk({"x": x})
    losses = [nn.functional.mse_loss(head(features)[:, 0], y[:, i]) for i, head in enumerate(model.private.values())]
    return features, losses


def descend(parameters: list[nn.Parameter]) -> Callable[[], None]:
    """Plain SGD, as everybody uses here."""
    optimizer = torch.optim.SGD(parameters, lr=RATE)

    def update() -> None:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return update
