import pytest
import torch

from distmtl.parallel.reduce import sum_gradients
from distmtl.parallel.world import Solo, World
from tests.processes import run_workers


def _collectives(world: World) -> dict[str, object]:
    parameters = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))]
    if world.rank == 0:  # the other rank has no gradient and must still take part
        parameters[0].grad = torch.tensor([1.0, 2.0])
    parameters[1].grad = torch.tensor([float(world.rank + 1)], dtype=torch.float64)
    sum_gradients(parameters, world, scale=0.5)
    world.barrier()
    return {
        "sum": world.sum(torch.tensor([1.0 + world.rank])).tolist(),
        "gather": world.gather({"rank": world.rank}),
        "all_gather": world.all_gather(world.rank),
        "broadcast": world.broadcast("zero" if world.rank == 0 else None),
        "grads": [p.grad.tolist() for p in parameters if p.grad is not None],
    }


@pytest.mark.dist
def test_collectives_of_two_processes() -> None:
    first, second = run_workers(_collectives, 2)
    assert first["gather"] == [{"rank": 0}, {"rank": 1}]
    assert second["gather"] is None
    for result in (first, second):
        assert result["sum"] == [3.0]
        assert result["all_gather"] == [0, 1]
        assert result["broadcast"] == "zero"
        assert result["grads"] == [[0.5, 1.0], [1.5]]


def test_world_of_one_is_the_identity() -> None:
    world = Solo()
    assert world.sum(torch.ones(1)).tolist() == [1.0]
    assert (world.gather(1), world.all_gather(1), world.broadcast(1)) == ([1], [1], 1)
    assert (world.rank, world.size) == (0, 1)
