"""The message between workers, also of one that could not read its share."""

from dataclasses import replace
from typing import Any

import pytest

from distmtl.parallel.world import Solo, World
from distmtl.training.facts import Agreement, exchange
from tests.processes import run_workers
from tests.training.problems import Problem, places, share


def _exchange(world: World, steps: int, reads: dict[int, int], weighted: bool) -> list[Agreement]:
    problem = Problem(missing=0.3, weighted=weighted)
    tasks = tuple(replace(place, weighted=weighted and place.source == "a") for place in places())
    batches = [share(problem, step, world.rank, world.size) for step in range(reads.get(world.rank, steps))]
    first = exchange(batches, steps, tasks, world, stop=world.rank == 1, next_steps=world.rank + 5)
    # Had any worker sent a message of another length or kind, this one would fail or bring wrong numbers.
    again = [share(problem, step, world.rank, world.size) for step in range(2)]
    return [first, exchange(again, 2, tasks, world, stop=False, next_steps=world.rank + 1)]


@pytest.mark.dist
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("size", "reads"), [(2, {1: 0}), (3, {0: 2, 2: 0}), (3, {})])
def test_a_worker_that_could_not_read_sends_a_message_like_the_others(size: int, reads: Any, weighted: bool) -> None:
    found = run_workers(_exchange, size, 4, reads, weighted)
    for first, second in found:
        assert (first.unread, first.stop, first.next_steps) == (bool(reads), True, 5)
        assert len(first.facts) == (0 if reads else 4)
        assert (second.unread, second.stop, second.next_steps) == (False, False, 1)
        alone = exchange(
            [share(Problem(missing=0.3, weighted=weighted), step, 0, 1) for step in range(2)],
            2,
            places(),
            Solo(),
            stop=False,
            next_steps=1,
        )
        for facts, expected, first_rank in zip(second.facts, alone.facts, found[0][1].facts, strict=True):
            assert facts.counts == pytest.approx(expected.counts, rel=1e-12)
            assert (facts.counts == first_rank.counts).all()
