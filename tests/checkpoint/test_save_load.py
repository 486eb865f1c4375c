"""What is saved at one world size is loaded at another, bit by bit; ranks succeed or fail together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from distmtl.checkpoint import layout
from distmtl.checkpoint.attempt import begin_attempt
from distmtl.checkpoint.commit import CheckpointRef, find, read_commit
from distmtl.checkpoint.contents import RunState
from distmtl.checkpoint.reader import load, read_manifest, verify
from distmtl.checkpoint.run import RunStore, open_run
from distmtl.checkpoint.writer import save
from distmtl.errors import CheckpointError, DistmtlError, StoreError
from distmtl.parallel.world import Solo, World
from tests.checkpoint.faults import Faults, FaultyStore, outage
from tests.checkpoint.states import every_kind, same_state
from tests.checkpoint.threads import results, run_ranks


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tensors are cut and files have many blocks, as with large ones."""
    monkeypatch.setattr(layout.deal, "__defaults__", (64,))
    for module in ("blocks", "manifest", "reader"):
        monkeypatch.setattr(f"distmtl.checkpoint.{module}.BLOCK_BYTES", 256)


def with_rank_values(state: RunState, world: World) -> RunState:
    return replace(state, rank_values={"rng": torch.full((5,), world.rank, dtype=torch.uint8), "rank": world.rank})


@pytest.mark.parametrize("readers", [1, 2, 3, 4])
@pytest.mark.parametrize("writers", [1, 2, 3, 4])
def test_every_world_size_reads_every_other(run: RunStore, writers: int, readers: int) -> None:
    state = every_kind(7)
    attempt = begin_attempt(run, 1, "test")
    refs = results(
        writers, lambda world: save(run, attempt, 7, with_rank_values(state, world), world, {"a/auroc": 0.5})
    )
    assert len(set(refs)) == 1
    assert find(run) == refs[:1]
    for rank, loaded in enumerate(results(readers, lambda world: load(run, refs[0], world))):
        assert same_state(loaded, state)
        if readers == writers:
            assert loaded.rank_values["rank"] == rank
            assert loaded.rank_values["rng"].tolist() == [rank] * 5
        else:
            assert loaded.rank_values == {}
    commit = read_commit(run, refs[0])
    assert (commit.step, commit.world_size, commit.metrics) == (7, writers, {"a/auroc": 0.5})
    verify(run, refs[0])


def test_in_a_folder_and_with_the_real_block_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    run = open_run(str(tmp_path), "run")
    state = RunState({"table": torch.randn(5 * 2**20 + 3), "tiny": torch.ones(1)}, {"n": 1})
    attempt = begin_attempt(run, 1, "test")
    ref = results(2, lambda world: save(run, attempt, 1, state, world))[0]
    manifest = read_manifest(run, ref)
    assert [len(file.blocks) for file in manifest.files.values()] == [2, 2]
    assert same_state(load(run, ref, Solo()), state)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        "000001.json", "COMMIT.json", "manifest.json", "00000-0.bin", "00001-0.bin",
    }  # fmt: skip


def test_the_ranks_share_the_bytes(run: RunStore) -> None:
    state = RunState({f"layer{n}": torch.randn(64, 64) for n in range(8)}, {})
    attempt = begin_attempt(run, 1, "test")
    ref = results(4, lambda world: save(run, attempt, 1, state, world))[0]
    sizes = [file.size for file in read_manifest(run, ref).files.values()]
    assert len(sizes) == 4
    assert max(sizes) <= 1.05 * sum(sizes) / 4


def test_saving_a_step_twice_returns_what_stands(run: RunStore) -> None:
    attempt = begin_attempt(run, 1, "test")
    first = save(run, attempt, 5, every_kind(5), Solo())
    assert save(run, attempt, 5, every_kind(6), Solo()) == first
    assert same_state(load(run, first, Solo()), every_kind(5))


def test_metrics_that_are_not_numbers_survive(run: RunStore) -> None:
    ref = save(
        run, begin_attempt(run, 1, "t"), 1, every_kind(), Solo(), {"a/auroc": float("nan"), "b/r2": np.float32(0.5)}
    )
    metrics = read_commit(run, ref).metrics
    assert np.isnan(metrics["a/auroc"])
    assert metrics["b/r2"] == 0.5


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_one_rank_that_fails_fails_all(run: RunStore, failing: int) -> None:
    def refuse(key: str) -> None:
        if f"data/{failing:05}" in key:
            raise outage(key)

    attempt = begin_attempt(run, 1, "test")
    broken = RunStore(FaultyStore(run.store, Faults(on_write=refuse)), run.name)
    errors = run_ranks(3, lambda world: save(broken, attempt, 1, every_kind(), world))
    assert len({str(error) for error in errors}) == 1
    assert all(isinstance(error, StoreError) for error in errors)
    assert f"rank {failing}" in str(errors[0])
    assert "503" in str(errors[0])
    assert find(run) == []
    results(3, lambda world: save(run, attempt, 1, every_kind(), world))  # The same attempt may try again.
    assert len(find(run)) == 1


def test_a_bug_on_one_rank_fails_all(run: RunStore) -> None:
    attempt = begin_attempt(run, 1, "test")

    def program(world: World) -> CheckpointRef:
        return save(run, attempt, 1, replace(every_kind(), rank_values={"x": object() if world.rank else 1}), world)

    errors = run_ranks(2, program)
    assert [type(error) for error in errors] == [DistmtlError] * 2
    assert "rank 1" in str(errors[0])
    assert "'x'" in str(errors[0])


def test_a_truncated_object_is_noticed_before_the_commit(run: RunStore) -> None:
    attempt = begin_attempt(run, 1, "test")
    broken = RunStore(FaultyStore(run.store, Faults(cut=lambda key: "data/00001" in key)), run.name)
    for error in run_ranks(2, lambda world: save(broken, attempt, 1, every_kind(), world)):
        assert isinstance(error, StoreError)
        assert "were sent" in str(error)
    assert find(run) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: replace(state, tensors={**state.tensors, "extra": torch.ones(1)}), "tensor 'extra'"),
        (lambda state: replace(state, tensors={**state.tensors, "half": torch.ones(5, 3)}), "tensor 'half'"),
        (lambda state: replace(state, values={**state.values, "step": 8}), "value 'step'"),
    ],
)
def test_ranks_that_disagree_are_told_apart(run: RunStore, change: object, named: str) -> None:
    attempt = begin_attempt(run, 1, "test")

    def program(world: World) -> CheckpointRef:
        return save(run, attempt, 1, change(every_kind()) if world.rank == 1 else every_kind(), world)

    for error in run_ranks(3, program):
        assert isinstance(error, CheckpointError)
        assert f"rank 1 differs from rank 0 in {named}" in str(error)
    assert run.store.list("checkpoints") == []


def test_what_cannot_be_stored_is_named(run: RunStore) -> None:
    attempt = begin_attempt(run, 1, "test")
    with pytest.raises(CheckpointError, match="'s'"):
        save(run, attempt, 1, RunState({"s": torch.eye(2).to_sparse()}, {}), Solo())
    with pytest.raises(CheckpointError, match="reserved"):
        save(run, attempt, 1, RunState({"values:x": torch.ones(1)}, {}), Solo())


def test_a_state_of_nothing(run: RunStore) -> None:
    attempt = begin_attempt(run, 1, "test")
    ref = results(2, lambda world: save(run, attempt, 0, RunState({}, {}), world))[0]
    assert same_state(load(run, ref, Solo()), RunState({}, {}))
