"""What exact gradient balancing costs: against its floor, against peers, and under DDP.

A trunk of 1.44 million parameters, T regressions on the same rows, float32, one thread per process. Each comparison is
made by turns in one run: 30 pairs of turns, the median of their ratios and its 95 % interval.

- *floor*: one process; forward, T calls of ``autograd.grad`` over one shared forward pass, SGD. Ours and the peers do
  the same and find UPGrad's (PCGrad's) weights. LibMTL's PCGrad is entered without the package's ``__init__``, which
  does not import, and given gradients of 0 where it would fail on None.
- *equal*: two gloo workers; a bare DDP loop with a step of 30 ms or more.
- *one task a step*: two workers, heads with most of the parameters; DDP with ``find_unused_parameters=True``.
- *traffic*, *memory*: bytes that a worker sends and holds under ``exact``, counted; four workers.

    python benchmarks/balancing.py [--check] [--quick]

Peers that are not installed are left out and named; ``make setup`` installs them.
"""

import argparse
import json
import multiprocessing
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

import balancing_models as models
import torch

from distmtl.balancing.gradient_specs import PcGradSpec, UpGradSpec
from distmtl.balancing.loss_specs import EqualSpec
from distmtl.parallel.world import Solo, World, current_world

TASKS = (2, 8, 40)
TARGETS = {"floor": 1.25, "peer": 1.0, "equal": 1.05, "one task": 0.95}
"""Most time over that of what is compared with."""
TURN_S = 0.4
"""About as long as one side's turn takes."""

Run = Callable[[int], object]


def main() -> int:
    """Measure, print tables and one JSON object; returns the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="exit 1 above the targets")
    arguments.add_argument("--quick", action="store_true", help="fewer turns, under 60 s")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    pairs = 6 if options.quick else 30
    results: dict[str, Any] = {}
    print(f"{'comparison':34} {'other':>9} {'ours':>9} {'ratio':>6} {'95 % interval':>16} {'target':>6}")
    for tasks in TASKS[: 2 if options.quick else None]:
        _alone(tasks, pairs, results)
    for name, target, case, other in (
        ("equal, 8 tasks / bare DDP", "equal", models.Case(8, rows=1024), "bare"),
        ("one task a step / find_unused", "one task", models.Case(8, rows=128, head=448, labelled=1), "unused"),
    ):
        turns = _spawn(_pairs_of_workers, 2, case, other, pairs)[0]
        _note(results, name, turns, TARGETS[target])
    for size in (2, 4):
        results[f"traffic and memory, {size} workers"] = counted = _spawn(_count, size, models.Case(8))[0]
        print(f"exact, T = 8, {size} workers: {counted}")
    print(json.dumps(results))
    missed = [name for name, found in results.items() if found.get("ratio", 0.0) > found.get("target", 1.0)]
    for name in missed:
        print(f"{name}: {results[name]['ratio']:.3f}, the target is {results[name]['target']}", file=sys.stderr)
    return 1 if options.check and missed else 0


def _alone(tasks: int, pairs: int, results: dict[str, Any]) -> None:
    """One process: ours by turns with the floor and with the peers."""
    case = models.Case(tasks)
    upgrad = models.our_step(case, Solo(), UpGradSpec())[0]
    pcgrad = models.our_step(case, Solo(), PcGradSpec())[0]
    pairs = min(pairs, 10) if tasks == max(TASKS) else pairs  # a turn of many tasks is long enough
    with ExitStack() as stack:
        for name, ours, make, target in (
            (f"upgrad, T = {tasks} / floor", upgrad, lambda: _floor(case), "floor"),
            (f"upgrad, T = {tasks} / TorchJD", upgrad, lambda: _torchjd(case, "UPGrad", None), "peer"),
            (f"upgrad, T = {tasks} / TorchJD, chunks of 1", upgrad, lambda: _torchjd(case, "UPGrad", 1), "peer"),
            (f"pcgrad, T = {tasks} / TorchJD", pcgrad, lambda: _torchjd(case, "PCGrad", None), "peer"),
            (f"pcgrad, T = {tasks} / LibMTL", pcgrad, lambda: _libmtl(case, stack), "peer"),
        ):
            try:
                other = make()
            except ImportError as error:
                print(f"{name:34} left out: {error}")
                continue
            _note(results, name, _turns(other, ours, pairs), TARGETS[target])


def _floor(case: models.Case) -> Run:
    model = models.build_model(case)
    x, y = models.build_rows(case, Solo())
    trunk, update = [*model.trunk.parameters()], models.descend([*model.parameters()])

    def run(_: int) -> None:
        _, losses = models.bare_losses(model, x, y)
        for number, (head, loss) in enumerate(zip(model.private.values(), losses, strict=True)):
            own = [*head.parameters()]
            found = torch.autograd.grad(loss, trunk + own, retain_graph=number < case.tasks - 1)
            for parameter, gradient in zip(trunk + own, found, strict=True):
                parameter.grad = gradient
        update()

    return run


def _torchjd(case: models.Case, name: str, chunk: int | None) -> Run:
    from torchjd import aggregation
    from torchjd.autojac import jac_to_grad, mtl_backward

    aggregator = getattr(aggregation, name)()
    model = models.build_model(case)
    x, y = models.build_rows(case, Solo())
    update, trunk = models.descend([*model.parameters()]), [*model.trunk.parameters()]

    def run(_: int) -> None:
        features, losses = models.bare_losses(model, x, y)
        mtl_backward(losses, features=features, parallel_chunk_size=chunk)
        jac_to_grad(trunk, aggregator, **({"optimize_gramian_computation": True} if chunk else {}))
        update()

    return run


def _libmtl(case: models.Case, stack: ExitStack) -> Run:
    from tests.balancing.libmtl import weighting_classes

    weighting = stack.enter_context(weighting_classes()).PCGrad()
    model = models.build_model(case)
    x, y = models.build_rows(case, Solo())
    update, trunk = models.descend([*model.parameters()]), [*model.trunk.parameters()]

    def forget() -> None:
        for parameter in trunk:
            parameter.grad = torch.zeros_like(parameter)

    weighting.task_num, weighting.device, weighting.rep_grad = case.tasks, "cpu", False
    weighting.get_share_params, weighting.zero_grad_share_params = lambda: trunk, forget

    def run(_: int) -> None:
        _, losses = models.bare_losses(model, x, y)
        weighting.backward(losses)
        update()

    return run


def _pairs_of_workers(world: World, case: models.Case, other: str, pairs: int) -> list[tuple[float, float]]:
    """Two workers: ours by turns with DDP by hand."""
    from torch.nn.parallel import DistributedDataParallel

    model = models.build_model(case)
    x, y = models.build_rows(case, world)
    update = models.descend([*model.parameters()])
    wrapped = DistributedDataParallel(
        _Losses(model), find_unused_parameters=other == "unused", gradient_as_bucket_view=True
    )

    def run(k: int) -> None:
        wrapped(x, y, None if other == "bare" else k % case.tasks).backward()
        update()

    return _turns(run, models.our_step(case, world, EqualSpec())[0], pairs, world)


class _Losses(torch.nn.Module):
    """The sum of the losses, or one of them, as one module."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor, y: torch.Tensor, only: int | None) -> torch.Tensor:
        if only is None:
            return torch.stack(models.bare_losses(self.model, x, y)[1]).sum()
        features = self.model.trunk({"x": x})
        head = self.model.private[f"t{only}"]
        return torch.nn.functional.mse_loss(head(features)[:, 0], y[:, only])


def _turns(other: Run, ours: Run, pairs: int, world: World | None = None) -> list[tuple[float, float]]:
    """Seconds per step of both, by turns."""
    world = world or Solo()
    for run in (other, ours):
        run(0)
        run(1)
    started = time.perf_counter()
    other(2)
    steps = max(2, round(TURN_S / (time.perf_counter() - started)))
    steps = int(world.broadcast(steps))
    found = []
    for pair in range(pairs):
        times = {}
        for run in (other, ours) if pair % 2 else (ours, other):
            world.barrier()
            started = time.perf_counter()
            for k in range(steps):
                run(k)
            times[id(run)] = (time.perf_counter() - started) / steps
        found.append((times[id(other)], times[id(ours)]))
    return found


def _count(world: World, case: models.Case) -> dict[str, float]:
    """Bytes that one step sends, and those that it holds beyond parameters, over those of the trunk's parameters."""
    import torch.distributed as dist

    run, step = models.our_step(case, world, UpGradSpec())
    run(0)
    sent = 0
    originals = {name: getattr(dist, name) for name in ("all_to_all_single", "all_gather_single", "all_reduce")}

    def counting(name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal sent
            tensor = args[0] if name == "all_reduce" else args[1]
            share = (world.size - 1) / world.size
            # what leaves a worker: its rows for the others; its part, to each of them; twice its share of a ring
            whole = {"all_to_all_single": share, "all_gather_single": world.size - 1, "all_reduce": 2 * share}[name]
            sent += round(tensor.nbytes * whole)
            return originals[name](*args, **kwargs)

        return call

    for name in originals:
        setattr(dist, name, counting(name))
    run(1)
    for name, original in originals.items():
        setattr(dist, name, original)
    trunk = sum(p.numel() for p in models.Trunk().parameters()) * 4
    heads = sum(p.numel() for p in models.build_model(case).private.parameters()) * 4
    matrix = step.route.matrix
    ring = (world.size - 1) / world.size
    return {
        "sent over (T + 1) P": (sent - 2 * ring * heads) / ((case.tasks + 1) * trunk),
        "sent over (T + 1) P (W - 1) / W": (sent - 2 * ring * heads) / ((case.tasks + 1) * trunk * ring),
        "rows of J over T P": matrix.shard.nbytes / (case.tasks * trunk),
        "rows and buffers over T P": (matrix.shard.nbytes + 2 * trunk) / (case.tasks * trunk),
    }


def _note(results: dict[str, Any], name: str, turns: list[tuple[float, float]], target: float) -> None:
    ratios = sorted(ours / other for other, ours in turns)
    reach = 0.98 * len(ratios) ** 0.5
    low, high = ratios[max(0, int(len(ratios) / 2 - reach))], ratios[min(len(ratios) - 1, int(len(ratios) / 2 + reach))]
    other_ms, ours_ms = (statistics.median(values) * 1e3 for values in zip(*turns, strict=True))
    middle, between = statistics.median(ratios), f"{low:.3f} to {high:.3f}"
    print(f"{name:34} {other_ms:7.1f}ms {ours_ms:7.1f}ms {middle:6.3f} {between:>16} {target:6}", flush=True)
    results[name] = {
        "ratio": middle,
        "low": low,
        "high": high,
        "other_ms": other_ms,
        "ours_ms": ours_ms,
        "target": target,
    }


def _spawn(function: Callable[..., Any], size: int, *args: Any) -> list[Any]:
    """What the function returns on every worker of a gloo group."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=_work, args=(function, rank, size, port, queue, args)) for rank in range(size)]
    for worker in workers:
        worker.start()
    found = dict(queue.get(timeout=900) for _ in workers)
    for worker in workers:
        worker.join()
    return [found[rank] for rank in range(size)]


def _work(function: Callable[..., Any], rank: int, size: int, port: int, queue: Any, args: tuple[Any, ...]) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
                      GLOO_SOCKET_IFNAME="lo")  # fmt: skip
    from distmtl.parallel.process_group import start_process_group, stop_process_group

    torch.set_num_threads(1)
    start_process_group(torch.device("cpu"), timeout_s=300)
    queue.put((rank, function(current_world(torch.device("cpu")), *args)))
    stop_process_group()


if __name__ == "__main__":
    sys.exit(main())
