"""The commit law: kill the writer anywhere, and a load returns exactly a committed state or raises."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from distmtl.checkpoint.attempt import Attempt, begin_attempt
from distmtl.checkpoint.commit import CheckpointRef, find
from distmtl.checkpoint.contents import RunState
from distmtl.checkpoint.reader import latest_good, load, verify
from distmtl.checkpoint.retention import collect, sweep_orphans
from distmtl.checkpoint.run import RunStore, open_run
from distmtl.checkpoint.specs import CheckpointSpec
from distmtl.checkpoint.writer import save
from distmtl.errors import DistmtlError, StoreError, SupersededError
from distmtl.parallel.world import Solo
from distmtl.store import open_store
from tests.checkpoint.faults import Faults, FaultyStore, Killed, outage
from tests.checkpoint.states import every_kind, same_state


@pytest.fixture(params=["memory", "folder"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunStore]:
    uri = f"memory://{secrets.token_hex(6)}" if request.param == "memory" else str(tmp_path / "store")
    yield open_run(uri, "a-run")
    open_store(uri).clear()


def faulty(run: RunStore, faults: Faults) -> RunStore:
    return RunStore(FaultyStore(run.store, faults), run.name)


def check_law(run: RunStore, allowed: set[int]) -> int:
    """What is visible is whole and right; returns the newest step."""
    refs = find(run)
    for ref in refs:
        verify(run, ref)
        assert same_state(load(run, ref, Solo()), every_kind(ref.step))
    found = latest_good(run, Solo())
    assert found is not None
    assert found.ref.step in allowed
    return found.ref.step


def die_at(number: int, kind: str) -> Faults:
    """Die at an operation: before it, or after it took effect but before the caller knows."""
    faults = Faults()
    after = [0]

    def before(key: str) -> None:
        if len(faults.keys) - 1 == number and kind in {"killed before", "refused"}:
            raise Killed if kind == "killed before" else outage(key)

    def done(key: str) -> None:
        after[0] += 1
        if after[0] - 1 == number and kind in {"killed after", "answer lost"}:
            raise Killed if kind == "killed after" else outage(key)

    faults.on_write, faults.on_written = before, done
    return faults


@pytest.mark.parametrize("kind", ["killed before", "killed after", "refused", "answer lost"])
def test_dying_at_any_operation_of_a_save(run: RunStore, kind: str) -> None:
    attempt = begin_attempt(run, 1, "test")
    save(run, attempt, 10, every_kind(10), Solo())
    outcomes = set()
    for number in range(10):
        faults = die_at(number, kind)
        step = 11 + number
        before = check_law(run, set(range(10, step)))
        try:
            save(faulty(run, faults), attempt, step, every_kind(step), Solo())
            outcomes.add("saved")
            assert check_law(run, {step}) == step
        except (Killed, DistmtlError):
            outcomes.add("failed")
            assert check_law(run, {before, step}) in (
                {before} if "before" in kind or kind == "refused" else {before, step}
            )
    assert outcomes == {"saved", "failed"}


def test_a_lost_answer_to_the_commit_is_settled_by_reading(run: RunStore) -> None:
    def lose(key: str) -> None:
        if key.endswith("COMMIT.json"):
            raise outage(key)

    attempt = begin_attempt(run, 1, "test")
    ref = save(faulty(run, Faults(on_written=lose)), attempt, 1, every_kind(1), Solo())
    assert find(run) == [ref]


def test_dying_at_any_byte(run: RunStore) -> None:
    attempt = begin_attempt(run, 1, "test")
    save(run, attempt, 1, every_kind(1), Solo())
    total = sum(entry.size for entry in run.store.list() if entry.key.endswith(".bin"))
    assert total > 3000
    for limit in range(0, total, 1000):

        def stop(written: int, limit: int = limit) -> None:
            if written >= limit:
                raise Killed

        with pytest.raises(Killed):
            save(faulty(run, Faults(on_bytes=stop)), attempt, 2, every_kind(2), Solo())
        check_law(run, {1})
    save(run, attempt, 2, every_kind(2), Solo())
    check_law(run, {2})


@pytest.mark.parametrize("kind", ["killed before", "killed after", "refused", "answer lost"])
def test_dying_at_any_operation_of_a_deletion(run: RunStore, kind: str) -> None:
    attempt = begin_attempt(run, 1, "test")
    spec = CheckpointSpec(keep_last=2)
    for step in range(1, 6):
        save(run, attempt, step, every_kind(step), Solo())
    for number in range(20):
        faults = die_at(number, kind)
        try:
            collect(faulty(run, faults), attempt, spec)
        except (Killed, StoreError):
            check_law(run, {5})
            assert len(find(run)) >= 2
    assert [ref.step for ref in find(run)] == [5, 4]
    check_law(run, {5})
    sweep_orphans(run, begin_attempt(run, 2, "test", resumed_from=5))
    check_law(run, {5})
    left = {entry.key for entry in run.store.list("checkpoints") if "a-1-" in entry.key}
    assert {key.rpartition("/")[2] for key in left if "step-00000005" not in key and "step-00000004" not in key} <= {
        "COMMIT.json"
    }


def test_two_writers_of_one_step(run: RunStore) -> None:
    first = begin_attempt(run, 1, "one")
    save(run, first, 10, every_kind(10), Solo())
    second = begin_attempt(run, 2, "two", resumed_from=10)
    with pytest.raises(SupersededError, match="attempt 2 has taken over from attempt 1"):
        save(run, first, 20, every_kind(99), Solo())
    ref = save(run, second, 20, every_kind(20), Solo())
    assert [(found.step, found.attempt) for found in find(run)] == [(20, 2), (10, 1)]
    assert same_state(load(run, ref, Solo()), every_kind(20))


def zombie_commits(run: RunStore, attempt: Attempt, step: int, monkeypatch: pytest.MonkeyPatch) -> CheckpointRef:
    """A save whose check for later attempts came just too early."""
    with monkeypatch.context() as patch:
        patch.setattr("distmtl.checkpoint.writer.ensure_current", lambda run, attempt: None)
        return save(run, attempt, step, every_kind(step), Solo())


def test_a_zombie_that_commits_all_the_same_is_not_seen(run: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = begin_attempt(run, 1, "one")
    save(run, first, 10, every_kind(10), Solo())
    second = begin_attempt(run, 2, "two", resumed_from=10)
    hidden = zombie_commits(run, first, 20, monkeypatch)
    check_law(run, {10})
    save(run, second, 15, every_kind(15), Solo())
    check_law(run, {15})
    with pytest.raises(SupersededError):
        collect(run, first, CheckpointSpec())
    with pytest.raises(SupersededError):
        sweep_orphans(run, first)
    assert hidden in sweep_orphans(run, begin_attempt(run, 3, "three", resumed_from=15))
    assert [entry for entry in run.store.list("checkpoints") if entry.key.startswith(hidden.key)] == []
    check_law(run, {15})


def test_a_swept_folder_can_never_be_committed(run: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one case in which no fence hides a zombie: its step is not beyond what the later attempt resumed from."""
    first = begin_attempt(run, 1, "one")
    for step in (5, 10):
        save(run, first, step, every_kind(step), Solo())
    pending = CheckpointRef(7, 1, first.id, run.uri)
    run.store.put(f"{pending.key}/data/00000-0.bin", b"half")
    second = begin_attempt(run, 2, "two", resumed_from=10)
    assert sweep_orphans(run, second) == [pending]
    assert sweep_orphans(run, second) == []
    with pytest.raises(StoreError, match="another writer"):
        zombie_commits(run, first, 7, monkeypatch)
    check_law(run, {10})


def test_two_processes_that_hold_one_number_do_not_mix(run: RunStore) -> None:
    """As can happen on stores without atomic create-only puts."""
    first = begin_attempt(run, 1, "one")
    second = Attempt(1, "abcdefabcdef", "two", None, None)
    save(run, first, 1, every_kind(1), Solo())
    with pytest.raises(SupersededError):
        save(run, second, 2, every_kind(2), Solo())
    check_law(run, {1})


PROGRAM = """
import os, signal, sys
from distmtl.checkpoint.attempt import begin_attempt
from distmtl.checkpoint.contents import RunState
from distmtl.checkpoint.run import open_run
from distmtl.checkpoint.writer import save
from distmtl.parallel.world import Solo
from distmtl.store.folder_store import FolderStore
import torch

run = open_run(sys.argv[1], "run")
attempt = begin_attempt(run, 1, "child")
save(run, attempt, 1, RunState({"x": torch.ones(1000)}, {"step": 1}), Solo())
real = getattr(FolderStore, sys.argv[2])

def die(self, key, *rest):
    if key.endswith(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, key, *rest)

setattr(FolderStore, sys.argv[2], die)
save(run, attempt, 2, RunState({"x": torch.zeros(1000)}, {"step": 2}), Solo())
"""


@pytest.mark.parametrize(("operation", "key"), [("put_new", "COMMIT.json"), ("put", "manifest.json")])
def test_a_process_killed_between_its_shards_and_the_commit(tmp_path: Path, operation: str, key: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path), operation, key], check=False, env=environment)
    assert child.returncode == -signal.SIGKILL
    run = open_run(str(tmp_path), "run")
    found = latest_good(run, Solo())
    assert found is not None
    assert found.ref.step == 1
    assert same_state(found.state, RunState({"x": torch.ones(1000)}, {"step": 1}))
    assert list(tmp_path.glob("run/checkpoints/step-00000002/*/data/*.bin"))
    sweep_orphans(run, begin_attempt(run, 2, "test", resumed_from=1))
    assert not list(tmp_path.glob("run/checkpoints/step-00000002"))
