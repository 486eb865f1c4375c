"""The norm of the whole gradient and its clipping are those of one process, however the parameters are held."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from distmtl.parallel.fsdp import build_mesh, local, shard_trunk
from distmtl.parallel.norms import clip_gradients, is_finite, total_norm
from distmtl.parallel.specs import ParallelSpec
from distmtl.parallel.world import Solo, World
from tests.processes import run_workers
from tests.training.problems import whole

LARGEST = 0.5

FULLY = ParallelSpec(strategy="fsdp")
COPIES = ParallelSpec(strategy="hsdp", shard_size=1)
HYBRID = ParallelSpec(strategy="hsdp", shard_size=2)


def _model() -> tuple[nn.Module, nn.Module]:
    """A trunk and a head. Three rows on two workers or four: the shares differ, some have nothing."""
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(5, 3, dtype=torch.float64), nn.Linear(3, 1, dtype=torch.float64))
    return trunk, nn.Linear(1, 2, dtype=torch.float64)


def _gradients(parameter: torch.Tensor, number: int) -> torch.Tensor:
    return torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number), dtype=torch.float64)


def clipped(world: World, spec: ParallelSpec, left_out: tuple[int, ...] = ()) -> dict[str, Any]:
    """The norm before clipping, the gradients after it, and what :func:`is_finite` says of a NaN on one worker."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    trunk, head = _model()
    if spec.strategy != "ddp":
        shard_trunk(trunk, (), spec, build_mesh(spec, world), None)
    parameters = [*trunk.parameters(), *head.parameters()]
    for number, parameter in enumerate(parameters):
        gradient = _gradients(parameter, number)
        if isinstance(parameter, DTensor):
            gradient = distribute_tensor(gradient, parameter.device_mesh, parameter.placements)
        parameter.grad = None if number in left_out else gradient
    norm = total_norm(parameters)
    clip_gradients(parameters, norm, LARGEST)
    after = total_norm(parameters)
    gradients = [None if p.grad is None else whole(p.grad) for p in parameters]
    finite = [is_finite(parameters, world)]
    if world.rank == world.size - 1:
        held = [local(p.detach()) for p in parameters if local(p).numel()]
        held[0].view(-1)[0] = math.nan
    finite.append(is_finite(parameters, world))
    return {"norm": float(norm), "after": float(after), "gradients": gradients, "finite": finite}


def _each(world: World, specs: tuple[ParallelSpec, ...]) -> list[dict[str, Any]]:
    return [clipped(world, spec, left_out) for spec in specs for left_out in ((), (0, 1, 2, 3), (4, 5))]


def test_one_process_clips_as_torch_does() -> None:
    trunk, head = _model()
    parameters = [*trunk.parameters(), *head.parameters()]
    for number, parameter in enumerate(parameters):
        parameter.grad = _gradients(parameter, number)
    norm = nn.utils.clip_grad_norm_(parameters, LARGEST)
    found = clipped(Solo(), ParallelSpec())
    assert found["norm"] == pytest.approx(float(norm), rel=1e-12)
    for gradient, parameter in zip(found["gradients"], parameters, strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-12, atol=0)
    assert found["finite"] == [True, False]


@pytest.mark.dist
@pytest.mark.parametrize(
    ("size", "specs"),
    [(2, (ParallelSpec(), FULLY, COPIES)), pytest.param(4, (FULLY, HYBRID), marks=pytest.mark.slow)],
)
def test_every_strategy_clips_as_one_process_does(size: int, specs: tuple[ParallelSpec, ...]) -> None:
    """With gradients of trunk and head, of the head alone, and of the trunk alone."""
    alone = _each(Solo(), (ParallelSpec(),)) * len(specs)
    for results in run_workers(_each, size, specs):
        for found, expected in zip(results, alone, strict=True):
            assert found["norm"] == pytest.approx(expected["norm"], rel=1e-12)
            assert found["after"] == pytest.approx(LARGEST, rel=1e-5)
            assert found["finite"] == [True, False]
            for gradient, wanted in zip(found["gradients"], expected["gradients"], strict=True):
                torch.testing.assert_close(gradient, wanted, rtol=1e-12, atol=1e-15)
