"""Bits that flip, files that vanish, manifests that lie."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from distmtl.checkpoint.attempt import begin_attempt, read_attempts
from distmtl.checkpoint.commit import CheckpointRef, Commit, find, read_commit
from distmtl.checkpoint.contents import SCHEMA, RunState
from distmtl.checkpoint.reader import latest_good, load, verify
from distmtl.checkpoint.records import digest, to_json
from distmtl.checkpoint.run import RunRecord, RunStore, create_record, open_run, read_record
from distmtl.checkpoint.writer import save
from distmtl.errors import CheckpointError, StoreError
from distmtl.parallel.world import Solo, World
from tests.checkpoint.faults import Faults, FaultyStore
from tests.checkpoint.states import every_kind, same_state
from tests.checkpoint.test_save_load import with_rank_values
from tests.checkpoint.threads import results


def save_at(run: RunStore, *steps: int, size: int = 2) -> list[CheckpointRef]:
    attempt = begin_attempt(run, 1, "test")
    return [
        results(
            size, lambda world, step=step: save(run, attempt, step, with_rank_values(every_kind(step), world), world)
        )[0]
        for step in steps
    ]


def flip(run: RunStore, key: str, bit: int) -> None:
    data = bytearray(run.store.get(key))
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    run.store.put(key, data)


@pytest.mark.parametrize(
    "name", ["data/00000-0.bin", "data/00001-0.bin", "state/00001.bin", "manifest.json", "COMMIT.json"]
)
@pytest.mark.parametrize("bit", [0, 77, 1001, 8 * 123 + 6, -1])
def test_a_single_bit_is_noticed_and_named(run: RunStore, name: str, bit: int) -> None:
    (ref,) = save_at(run, 3)
    key = f"{ref.key}/{name}"
    flip(run, key, bit)
    with pytest.raises(CheckpointError, match="manifest.json" if name == "manifest.json" else name) as error:
        verify(run, ref)
    if name.endswith("bin"):
        assert "block 0" in str(error.value)

    def program(world: World) -> str:
        with pytest.raises(CheckpointError) as error:
            load(run, ref, world)
        return str(error.value)

    assert len(set(results(2, program))) == 1


@pytest.mark.parametrize("name", ["data/00000-0.bin", "data/00001-0.bin", "state/00001.bin", "manifest.json"])
def test_a_missing_or_short_file_is_noticed(run: RunStore, name: str) -> None:
    (ref,) = save_at(run, 3)
    data = run.store.get(f"{ref.key}/{name}")
    for damage in (
        lambda: run.store.put(f"{ref.key}/{name}", data[:-1]),
        lambda: run.store.put(f"{ref.key}/{name}", data + b"x"),
        lambda: run.store.delete([f"{ref.key}/{name}"]),
    ):
        damage()
        for deep in (True, False):
            with pytest.raises(CheckpointError, match=name):
                verify(run, ref, deep=deep)
        with pytest.raises(CheckpointError, match=name):
            results(2, lambda world: load(run, ref, world))


@pytest.mark.parametrize("bit", range(0, 2000, 111))
def test_bits_of_records_are_noticed(run: RunStore, bit: int) -> None:
    begin_attempt(run, 1, "test", resumed_from=100)
    flip(run, "attempts/000001.json", bit)
    with pytest.raises(CheckpointError, match=r"000001\.json"):
        read_attempts(run)
    create_record(run, RunRecord({"seed": 1}, "hash", {"distmtl": "1"}))
    flip(run, "run.json", bit)
    with pytest.raises(CheckpointError, match=r"run\.json"):
        read_record(run)


def test_the_newest_whole_one_is_taken_and_the_others_are_named(run: RunStore) -> None:
    refs = save_at(run, 1, 2, 3, 4)
    flip(run, f"{refs[3].key}/COMMIT.json", 99)
    flip(run, f"{refs[2].key}/data/00001-0.bin", 5)
    for found in results(3, lambda world: latest_good(run, world)):
        assert found is not None
        assert found.ref == refs[1]
        assert same_state(found.state, every_kind(2))
        assert [skipped.ref for skipped in found.skipped] == [refs[3], refs[2]]
        assert "COMMIT.json" in found.skipped[0].reason
        assert "data/00001-0.bin" in found.skipped[1].reason


def test_if_all_are_damaged_nothing_is_started_anew(run: RunStore) -> None:
    assert latest_good(run, Solo()) is None
    for ref in save_at(run, 1, 2):
        flip(run, f"{ref.key}/manifest.json", 50)
    with pytest.raises(CheckpointError, match="none of the 2"):
        latest_good(run, Solo())


def test_an_outage_is_no_reason_to_fall_back(run: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    save_at(run, 1, 2)

    def refuse(self: FaultyStore, key: str, ranges: object) -> None:
        raise StoreError("503")

    monkeypatch.setattr(FaultyStore, "get_ranges", refuse)
    with pytest.raises(StoreError, match="503"):
        latest_good(RunStore(FaultyStore(run.store, Faults()), run.name), Solo())


def test_a_commit_of_another_checkpoint_is_refused(run: RunStore) -> None:
    first, second = save_at(run, 1, 2)
    run.store.put(f"{second.key}/COMMIT.json", run.store.get(f"{first.key}/COMMIT.json"))
    with pytest.raises(CheckpointError, match="another checkpoint"):
        read_commit(run, second)


def forge(run: RunStore, ref: CheckpointRef, change: object) -> None:
    """Replace the manifest by one with right checksums."""
    values = json.loads(run.store.get(f"{ref.key}/manifest.json"))
    change(values)
    data = to_json(values)
    commit = read_commit(run, ref)
    run.store.put(f"{ref.key}/manifest.json", data)
    forged = Commit(**{**commit.__dict__, "manifest_digest": digest(data), "manifest_bytes": len(data)})
    run.store.put(f"{ref.key}/COMMIT.json", forged.to_bytes())


def rename(new: str) -> object:
    def change(values: dict[str, dict[str, object]]) -> None:
        values["files"][new] = values["files"].pop("data/00000-0.bin")
        text = json.dumps(values["tensors"]).replace("data/00000-0.bin", json.dumps(new)[1:-1])
        values["tensors"] = json.loads(text)

    return change


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/passwd", "data/../../x.bin", "data/00000-0.bin\n", "other/00000-0.bin", "", "data//00000-0.bin"],
)
def test_a_manifest_cannot_point_outside(run: RunStore, path: str) -> None:
    (ref,) = save_at(run, 1)
    forge(run, ref, rename(path))
    with pytest.raises(CheckpointError, match="not a file of a checkpoint"):
        load(run, ref, Solo())


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(schema=SCHEMA + 1),
        lambda values: values.pop("files"),
        lambda values: values.update(step=-1),
        lambda values: values.update(step="1"),
        lambda values: values.update(block_bytes=1),
        lambda values: values.update(tensors=[]),
        lambda values: values["tensors"]["trunk.weight"].update(dtype="object"),
        lambda values: values["tensors"]["trunk.weight"].update(shape=[38, 11]),
        lambda values: values["tensors"]["trunk.weight"]["shards"].clear(),
        lambda values: values["tensors"]["trunk.weight"]["shards"][0].update(start=10**9),
        lambda values: values["tensors"]["trunk.weight"]["shards"][0].update(start=-8),
        lambda values: values["tensors"]["trunk.weight"]["shards"][0].update(file="data/00009-0.bin"),
        lambda values: values["value_tensors"].clear(),
        lambda values: values["files"]["data/00000-0.bin"]["blocks"].append("0" * 16),
    ],
)
def test_a_manifest_that_lies_is_refused(run: RunStore, change: object) -> None:
    (ref,) = save_at(run, 1)
    forge(run, ref, change)
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        load(run, ref, Solo())


def test_older_schemas_are_brought_up_to_date(run: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    (ref,) = save_at(run, 1)

    def age(values: dict[str, object]) -> None:
        values["schema"] = 0
        values["weights"] = values.pop("tensors")

    forge(run, ref, age)
    renew = {0: lambda values: {**values, "schema": 1, "tensors": values["weights"]}}
    monkeypatch.setattr("distmtl.checkpoint.contents.MIGRATIONS", renew)
    assert same_state(load(run, ref, Solo()), every_kind(1))


def test_a_checkpoint_of_the_first_schema_still_loads() -> None:
    """Written once, by two ranks; every later version must read it."""
    run = open_run(str(Path(__file__).parent / "golden"), "run")
    (ref,) = find(run)
    verify(run, ref)
    assert read_commit(run, ref).metrics == {"income/auroc": 0.875}
    for rank, state in enumerate(results(2, lambda world: load(run, ref, world))):
        assert same_state(state, golden_state(rank), ranks=True)


def golden_state(rank: int) -> RunState:
    return RunState(
        tensors={
            "weight": torch.arange(12, dtype=torch.float32).reshape(4, 3) / 8,
            "half": torch.tensor([1.5, -2.0]).to(torch.bfloat16),
            "flag": torch.tensor([True, False]),
            "step": torch.tensor(7),
            "empty": torch.empty(0, 3),
        },
        values={"step": 7, "mixture": [(0, (3, 1))], "ema": np.array([0.1, 0.2]), "loss": float("inf")},
        rank_values={"rng": torch.arange(3, dtype=torch.uint8) + rank},
    )


def test_finding_takes_few_requests(run: RunStore) -> None:
    attempt = begin_attempt(run, 1, "test")
    for step in range(200):
        ref = CheckpointRef(step, 1, attempt.id, run.uri)
        run.store.put(f"{ref.key}/data/00000-0.bin", b"x")
        run.store.put(f"{ref.key}/COMMIT.json", b"x")
    faults = Faults()
    refs = find(RunStore(FaultyStore(run.store, faults), run.name))
    assert [ref.step for ref in refs] == list(range(199, -1, -1))
    assert faults.listings == 2
    assert faults.reads == 1
