"""Which checkpoints are kept."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distmtl.checkpoint.attempt import begin_attempt
from distmtl.checkpoint.commit import CheckpointRef, find
from distmtl.checkpoint.retention import Scored, choose_deletions, collect, score, sweep_orphans
from distmtl.checkpoint.run import RunStore
from distmtl.checkpoint.specs import CheckpointSpec, KeepBestSpec
from distmtl.checkpoint.writer import save
from distmtl.parallel.world import Solo
from tests.checkpoint.states import every_kind
from tests.checkpoint.test_damage import flip

METRICS = st.dictionaries(
    st.sampled_from(["a/auroc", "b/auroc", "a/rmse", "b/rmse"]), st.floats(0, 1) | st.just(math.nan), max_size=4
)
CHECKPOINTS = st.dictionaries(st.integers(0, 50), METRICS, max_size=12).map(
    lambda found: [Scored(CheckpointRef(step, 1, "a", "run"), metrics) for step, metrics in found.items()]
)
SPECS = st.builds(
    CheckpointSpec,
    keep_last=st.integers(2, 5),
    keep_best=st.none()
    | st.builds(
        KeepBestSpec, metric=st.sampled_from(["a/auroc", "mean/auroc", "b/rmse", "mean/rmse"]), n=st.integers(1, 4)
    ),
)


@given(CHECKPOINTS, SPECS, st.data())
def test_what_is_deleted(checkpoints: list[Scored], spec: CheckpointSpec, data: st.DataObject) -> None:
    refs = sorted(checkpoint.ref for checkpoint in checkpoints)
    protected = data.draw(st.sets(st.sampled_from(refs))) if refs else set()
    doomed = choose_deletions(checkpoints, spec, protected)
    kept = set(refs) - set(doomed)
    assert doomed == sorted(doomed)
    assert protected <= kept
    assert set(refs[-spec.keep_last :]) <= kept
    best = spec.keep_best.n if spec.keep_best else 0
    assert len(kept) <= spec.keep_last + best + len(protected)
    assert choose_deletions([item for item in checkpoints if item.ref in kept], spec, protected) == []
    if spec.keep_best:
        metric = spec.keep_best.metric
        values = {item.ref: score(item.metrics, metric) for item in checkpoints}
        better = [ref for ref in refs if values[ref] is not None]
        better.sort(key=lambda ref: (values[ref], ref))
        assert set(better[-best:]) <= kept


def test_scores() -> None:
    metrics = {"a/auroc": 0.5, "b/auroc": 0.7, "a/rmse": 2.0, "c/auroc_x": 9.0}
    assert score(metrics, "a/auroc") == 0.5
    assert score(metrics, "mean/auroc") == pytest.approx(0.6)
    assert score(metrics, "mean/rmse") == -2.0
    assert score({"mean/auroc": 0.9, "a/auroc": 0.1}, "mean/auroc") == 0.9
    assert score({"loss": 3.0}, "loss") == -3.0
    assert score(metrics, "d/auroc") is None
    assert score({"a/auroc": math.nan}, "a/auroc") is None


def test_collecting_after_every_save(run: RunStore) -> None:
    attempt = begin_attempt(run, 1, "test")
    spec = CheckpointSpec(keep_last=2, keep_best=KeepBestSpec(metric="mean/rmse"))
    for step, rmse in enumerate([5.0, 1.0, 4.0, 3.0, 2.0]):
        save(run, attempt, step, every_kind(step), Solo(), {"a/rmse": rmse})
        collect(run, attempt, spec)
    assert [ref.step for ref in find(run)] == [4, 3, 1]
    assert {entry.key.split("/")[1] for entry in run.store.list("checkpoints")} == {
        "step-00000001", "step-00000003", "step-00000004",
    }  # fmt: skip


def test_never_below_two_that_verify(run: RunStore) -> None:
    attempt = begin_attempt(run, 1, "test")
    refs = [save(run, attempt, step, every_kind(step), Solo()) for step in range(5)]
    for ref in refs[2:]:
        flip(run, f"{ref.key}/manifest.json", 40)
    assert collect(run, attempt, CheckpointSpec(keep_last=2)) == [refs[2]]
    flip(run, f"{refs[0].key}/manifest.json", 40)
    assert collect(run, attempt, CheckpointSpec(keep_last=2)) == [refs[0]]


def test_what_the_attempt_started_from_stays(run: RunStore) -> None:
    first = begin_attempt(run, 1, "test")
    refs = [save(run, first, step, every_kind(step), Solo()) for step in range(3)]
    second = begin_attempt(run, 2, "test", resumed_from=2, source=refs[2].uri)
    for step in range(3, 8):
        save(run, second, step, every_kind(step), Solo())
    collect(run, second, CheckpointSpec(keep_last=2))
    assert [ref.step for ref in find(run)] == [7, 6, 2]


def test_starting_anew_by_mistake_loses_nothing_at_once(run: RunStore) -> None:
    first = begin_attempt(run, 1, "test")
    old = [save(run, first, step, every_kind(step), Solo()) for step in (100, 200)]
    second = begin_attempt(run, 2, "test")
    assert find(run) == []
    assert sweep_orphans(run, second) == []
    save(run, second, 10, every_kind(10), Solo())
    assert sweep_orphans(run, second) == []
    save(run, second, 20, every_kind(20), Solo())
    assert sweep_orphans(run, second) == old
    assert [ref.step for ref in find(run)] == [20, 10]
