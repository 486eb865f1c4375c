"""DTensors and columns: every rank writes its shard, replicas once, and any world size reads the whole."""

import socket
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from distmtl.checkpoint.attempt import Attempt, begin_attempt
from distmtl.checkpoint.commit import find
from distmtl.checkpoint.contents import RunState
from distmtl.checkpoint.reader import load, read_manifest
from distmtl.checkpoint.run import open_run
from distmtl.checkpoint.sharding import Columns, fill
from distmtl.checkpoint.writer import save
from distmtl.errors import CheckpointError
from distmtl.parallel.world import Solo, TorchWorld
from tests.checkpoint.states import same_state

SIZE = 4

STRETCHES = {
    "spread": [(0, 2, True), (2, 3, True), (3, 3, True), (3, 7, True)],
    "copied": [(0, 4, True), (4, 7, True), (0, 4, False), (4, 7, False)],
    "on one": [(0, 0, True), (0, 7, True), (7, 7, True), (0, 0, True)],
}
"""Of matrices with 7 columns: the first and the end of each rank's, and whether it writes them."""


def whole_state() -> RunState:
    generator = torch.Generator().manual_seed(0)
    names = ("rows", "columns", "both", "replica_of_shard", "uneven", "plain")
    tensors = {name: torch.randn(6, 4, generator=generator) for name in names}
    tensors["tiny"] = torch.randn(1, generator=generator)
    tensors |= {name: torch.randn(3, 7, generator=generator) for name in STRETCHES}
    return RunState(tensors, {"step": 3})


def save_shards(rank: int, port: int, folder: str, attempt: Attempt) -> None:
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=SIZE)
    line = init_device_mesh("cpu", (SIZE,))
    grid = init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicate", "shard"))
    state = whole_state()
    tensors = dict(state.tensors)
    for name, mesh, placements in [
        ("rows", line, [Shard(0)]),
        ("columns", line, [Shard(1)]),
        ("both", grid, [Shard(1), Shard(0)]),
        ("replica_of_shard", grid, [Replicate(), Shard(1)]),
        ("uneven", line, [Shard(0)]),
        ("tiny", line, [Shard(0)]),
    ]:
        tensors[name] = distribute_tensor(tensors[name], mesh, placements)
    columns = {}
    for name, stretches in STRETCHES.items():
        start, stop, writes = stretches[rank]
        columns[name] = Columns(tensors.pop(name)[:, start:stop], start, 7, writes)
    world = TorchWorld(torch.device("cpu"))
    save(open_run(folder, "run"), attempt, 3, RunState(tensors, state.values, columns=columns), world)
    for name, tensor in tensors.items():
        target = torch.zeros_like(tensor, dtype=torch.float64)
        fill(target, state.tensors[name], name)
        found = target.full_tensor() if isinstance(target, DTensor) else target
        assert torch.equal(found, state.tensors[name].double()), name
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.dist
@pytest.mark.timeout(300)  # Four processes import torch.
def test_shards_of_every_placement(tmp_path: Path) -> None:
    run = open_run(str(tmp_path), "run")
    attempt = begin_attempt(run, 1, "test")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(save_shards, (port, str(tmp_path), attempt), nprocs=SIZE)
    (ref,) = find(run)
    assert same_state(load(run, ref, Solo()), whole_state())
    shards = {name: len(record.shards) for name, record in read_manifest(run, ref).tensors.items()}
    assert shards == {
        "rows": 3, "columns": 4, "both": 4, "replica_of_shard": 2, "uneven": 3, "plain": 1, "tiny": 1,
        "spread": 3, "copied": 2, "on one": 1,
    }  # fmt: skip


def test_one_process_holds_all_columns(tmp_path: Path) -> None:
    run, whole = open_run(str(tmp_path), "run"), torch.arange(14.0).reshape(2, 7)
    state = RunState({"plain": torch.ones(2)}, {}, columns={"memory": Columns(whole, 0, 7)})
    ref = save(run, begin_attempt(run, 1, "test"), 1, state, Solo())
    found = load(run, ref, Solo())
    assert found.columns == {}
    assert same_state(found, RunState({"plain": torch.ones(2), "memory": whole}, {}))


@pytest.mark.parametrize(("start", "count"), [(1, 6), (0, 6), (2, 6), (0, 0)])
def test_columns_that_nobody_holds_are_refused(tmp_path: Path, start: int, count: int) -> None:
    run = open_run(str(tmp_path), "run")
    state = RunState({}, {}, columns={"memory": Columns(torch.ones(2, count), start, 7)})
    with pytest.raises(CheckpointError, match="memory"):
        save(run, begin_attempt(run, 1, "test"), 1, state, Solo())
    assert not find(run)
