"""The resume law for every balancer under every strategy: a real checkpoint in the middle of a run, and on from it.

The problem is the hardest of the step's: missing labels, row weights, dropout, and a checkpoint inside the steps in
which a task is absent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pytest

from distmtl.balancing.base import Balancer
from distmtl.balancing.build import build_balancer, choose_route
from distmtl.checkpoint.agreement import on_first
from distmtl.checkpoint.attempt import begin_attempt
from distmtl.checkpoint.commit import find
from distmtl.checkpoint.contents import RunState
from distmtl.checkpoint.reader import load
from distmtl.checkpoint.run import open_run
from distmtl.checkpoint.writer import save
from distmtl.data.mixture import Mixture, MixtureEntry
from distmtl.data.quarantine import Quarantine
from distmtl.models.base import MultiTaskModel
from distmtl.parallel.world import Solo, World
from distmtl.sampling.uniform import Uniform
from distmtl.training.facts import exchange
from distmtl.training.ledger import Ledger
from distmtl.training.mixing import Mixer
from distmtl.training.optim import set_rate
from distmtl.training.progress import Progress
from distmtl.training.state import Stateful, collect, restore
from tests.balancing.every import EVERY_SPEC
from tests.checkpoint.states import same, same_state
from tests.processes import run_workers
from tests.training.problems import OPTIM, Problem, build_step, places, share
from tests.training.test_parity import STRATEGIES, TASKS, section

HARD = Problem(rows=(23, 9), missing=0.6, absent=frozenset({3, 4}), weighted=True, dropout=0.3, steps=7, ema=0.9)
FIRST, SECOND, LAST = 4, 5, HARD.steps
"""Steps done at the checkpoints: between the two steps without a label of "topic", once more, and in the end."""

KINDS = tuple(EVERY_SPEC)
HELD = ("mgda", "upgrad", "pcgrad", "gradvac", "gradnorm", "sdmgrad", "nash_mtl")
"""Some whose weights can be kept for several steps; FIRST is no step at which new ones are made."""


@dataclass(frozen=True)
class Leg:
    """Part of a run.

    Attributes:
        name: Where its checkpoints go.
        stops: Steps after which one is saved; the last ends it.
        start: Steps done before it; 0: none.
        origin: Whose checkpoint it goes on from.
    """

    name: str
    stops: tuple[int, ...]
    start: int = 0
    origin: str = ""


def whole_and_again(where: str) -> tuple[Leg, Leg]:
    """A run that is never stopped, and one that goes on from its middle."""
    return Leg(f"{where}-whole", (FIRST, LAST)), Leg(f"{where}-again", (LAST,), FIRST, f"{where}-whole")


def _on(name: str, origin: str) -> Leg:
    """The end of a run, from another's second checkpoint."""
    return Leg(name, (LAST,), SECOND, origin)


Losses = dict[tuple[str, str], list[Any]]
"""The mean losses of every step, by kind and leg."""


def run_legs(
    world: World, kinds: tuple[str, ...], problem: Problem, asking: Mapping[str, Any], folder: str,
    legs: tuple[Leg, ...],
) -> Losses:  # fmt: skip
    """Run these legs for every kind; what they end with is in their checkpoints."""
    found = {}
    for kind in kinds:
        balancer = build_balancer(section(kind), TASKS)
        chosen = replace(choose_route(section(kind), balancer, 2), **asking)
        for leg in legs:
            spread = replace(problem, asking=chosen)
            found[kind, leg.name] = _run_leg(world, spread, balancer, f"{folder}/{kind}", leg)
    return found


def _run_leg(world: World, problem: Problem, balancer: Balancer, folder: str, leg: Leg) -> list[Any]:
    parts, progress = _build(world, problem, balancer), Progress()
    if leg.start:
        origin = open_run(folder, leg.origin)
        ref = next(ref for ref in on_first(world, lambda: find(origin)) if ref.step == leg.start)
        progress = restore(load(origin, ref, world), parts)
        assert progress.step == leg.start
    run = open_run(folder, leg.name)
    attempt = on_first(world, lambda: begin_attempt(run, 1, "test"))
    losses = []
    for index in range(leg.start, leg.stops[-1]):
        batch = share(problem, index, world.rank, world.size)
        facts = exchange([batch], 1, places(), world, stop=False, next_steps=1).facts[0]
        set_rate(parts.step.optimizer, OPTIM, index, problem.steps)
        outcome = parts.step(batch, facts)
        parts.ledger.add(outcome, facts)
        losses.append(world.sum(outcome.losses.clone()).tolist())
        progress.step = index + 1
        if progress.step in leg.stops:
            save(run, attempt, progress.step, collect(parts, progress, {}), world)
    return losses


def _build(world: World, problem: Problem, balancer: Balancer) -> Stateful:
    step, model = build_step(problem, balancer, world)
    mixture = Mixture(("a", "b"), "row", 32, (MixtureEntry(0, (23, 9), (0, 0)),))
    mixer = Mixer(Uniform(), mixture, {"sources": 2}, places(), 1, world)
    return Stateful(cast(MultiTaskModel, model), step, mixer, Ledger(TASKS, world), Quarantine(3, 0))


def at(folder: str, kind: str, name: str, step: int) -> RunState:
    """A checkpoint, whole."""
    run = open_run(f"{folder}/{kind}", name)
    return load(run, next(ref for ref in find(run) if ref.step == step), Solo())


def require_same_bits(folder: str, kinds: tuple[str, ...], where: str, losses: Losses) -> None:
    """The resumed run's last checkpoint and losses are those of the one that was never stopped."""
    for kind in kinds:
        whole, again = (at(folder, kind, f"{where}-{name}", LAST) for name in ("whole", "again"))
        assert same_state(whole, again), f"{kind}: {_first_difference(whole, again)}"
        resumed = losses[kind, f"{where}-again"]
        assert losses[kind, f"{where}-whole"][-len(resumed) :] == resumed, kind


def _first_difference(left: RunState, right: RunState) -> str:
    pairs = [(name, left.tensors[name], right.tensors.get(name)) for name in left.tensors]
    pairs += [(name, left.values[name], right.values.get(name)) for name in left.values]
    return next((f"{name}: {a} and {b}" for name, a, b in pairs if not same(a, b)), "names")


def require_close(folder: str, kinds: tuple[str, ...], name: str, expected: str = "alone-whole") -> None:
    """Parameters, moments, memories and the balancer's state are the same to 1e-10."""
    for kind in kinds:
        state, wanted = (at(folder, kind, leg, LAST) for leg in (name, expected))
        assert state.tensors.keys() == wanted.tensors.keys(), kind
        for key, tensor in wanted.tensors.items():
            bound = 1e-10 * max(float(tensor.abs().max()), 1e-6)
            difference = float((state.tensors[key] - tensor).abs().max())
            assert difference <= bound, f"{kind}: {key} differs by {difference:.1e}"
        pairs = zip(_numbers(state.values["balancer"]), _numbers(wanted.values["balancer"]), strict=True)
        for (key, number), (_, other) in pairs:
            np.testing.assert_allclose(number, other, rtol=1e-10, atol=1e-12, err_msg=f"{kind} {key}")


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(inner, f"{name}.{key}")
    else:
        yield name, value


@dataclass(frozen=True)
class Work:
    """Legs of several kinds under one strategy."""

    strategy: str
    legs: tuple[Leg, ...]
    kinds: tuple[str, ...] = KINDS
    update_every: int = 1


def run_all(world: World, folder: str, works: tuple[Work, ...]) -> Losses:
    """Do all of these, and return the losses of all."""
    found: Losses = {}
    for work in works:
        asking = {} if work.update_every == 1 else {"update_every": work.update_every}
        found |= run_legs(
            world, work.kinds, replace(HARD, parallel=STRATEGIES[work.strategy]), asking, folder, work.legs
        )
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Runs of every kind by one process, bit for bit the same after a resume."""
    made = str(tmp_path_factory.mktemp("runs"))
    kept = whole_and_again("kept-alone")
    losses = run_all(Solo(), made, (Work("ddp", whole_and_again("alone")), Work("ddp", kept, HELD, 3)))
    require_same_bits(made, KINDS, "alone", losses)
    require_same_bits(made, HELD, "kept-alone", losses)
    return made


def test_a_checkpoint_has_what_the_balancer_remembers_of_every_element(folder: str) -> None:
    memories = {"moco": "y", "db_mtl": "m", "excess_mtl": "squares"}
    for kind in KINDS:
        tensors = at(folder, kind, "alone-whole", FIRST).tensors
        trunk = {key.removeprefix("model.trunk."): t for key, t in tensors.items() if key.startswith("model.trunk.")}
        remembered = {key: tensor for key, tensor in tensors.items() if key.startswith("balancer.")}
        if kind not in memories:
            assert not remembered, kind
            continue
        assert any(tensor.count_nonzero() for tensor in remembered.values()), kind
        for key, tensor in remembered.items():
            parameter = trunk[key.removeprefix(f"balancer.{memories[kind]}.")]
            assert tensor.shape == (len(TASKS), parameter.numel()), key


@pytest.mark.dist
def test_a_run_goes_on_under_other_strategies(folder: str) -> None:
    """Two workers under DDP, on from there under FSDP, on from there one process; each bit for bit on its own."""
    works = (
        Work("ddp", whole_and_again("ddp")),
        Work("fsdp", (Leg("fsdp-whole", (SECOND, LAST), FIRST, "ddp-whole"), _on("fsdp-again", "fsdp-whole"))),
        Work("ddp", whole_and_again("kept-ddp"), HELD, 3),
    )
    for losses in run_workers(run_all, 2, folder, works):
        require_same_bits(folder, KINDS, "ddp", losses)
        require_same_bits(folder, KINDS, "fsdp", losses)
        require_same_bits(folder, HELD, "kept-ddp", losses)
    run_all(Solo(), folder, (Work("ddp", (_on("last", "fsdp-whole"),)),))
    for name in ("ddp-again", "fsdp-again", "last"):
        require_close(folder, KINDS, name)
    require_close(folder, HELD, "kept-ddp-again", "kept-alone-whole")


@pytest.mark.dist
@pytest.mark.slow
def test_a_run_goes_on_as_copies_of_shares(folder: str) -> None:
    """Four workers, two copies: on from one process, and one process on from them. Weights kept under FSDP."""
    hybrid = Work("hsdp", (*whole_and_again("hsdp"), Leg("wider", (SECOND,), FIRST, "alone-whole")))
    for losses in run_workers(run_all, 4, folder, (hybrid,)):
        require_same_bits(folder, KINDS, "hsdp", losses)
    for losses in run_workers(run_all, 4, folder, (Work("fsdp", whole_and_again("kept-fsdp"), HELD, 3),)):
        require_same_bits(folder, HELD, "kept-fsdp", losses)
    run_all(Solo(), folder, (Work("ddp", (_on("narrower", "wider"),)),))
    for name in ("hsdp-again", "narrower"):
        require_close(folder, KINDS, name)
    require_close(folder, HELD, "kept-fsdp-again", "kept-alone-whole")
