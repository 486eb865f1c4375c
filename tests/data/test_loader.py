import gc
import itertools
import json
import threading
import time
import traceback

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.data.loader import Loader
from distmtl.data.mixture import Mixture
from distmtl.data.plan import Plan
from distmtl.errors import InputError
from tests.data.memory import layouts, memory_source


def three_sources():
    return [
        memory_source("large", 5000, 64, ((7, 40),)),
        memory_source("small", 100, 128),
        memory_source("tiny", 3, 128),
    ]


@pytest.fixture(params=["windows", "whole"], autouse=True)
def small_sources(request, monkeypatch):
    """Sources of this size are kept whole; otherwise they are read by windows, as large ones are."""
    if request.param == "windows":
        monkeypatch.setattr("distmtl.data.feed.is_kept_whole", lambda *_: False)
    return request.param


def plan_of(sources, lanes=4, window_blocks=3, seed=5):
    return Plan(layouts(sources), lanes, window_blocks, seed)


def loader(sources, mixture, *share, lanes=4, **options):
    return Loader(sources, plan_of(sources, lanes), mixture, *share, **options)


def planned_rows(sources, plan, mixture, step):
    """(source, row number in the split) of the step's global list, as the plan locates them."""
    listed = []
    for source, lane, first, rows, _ in plan.segments(mixture, step):
        blocks, row = plan.locate(source, lane, np.arange(first, first + rows))
        listed += [(sources[source].name, r) for r in (sources[source].split.starts[blocks] + row).tolist()]
    return listed


def assert_shares(batches, expected):
    """The workers' batches of one step are together the global list, and every column says the same."""
    placed = {}
    for batch in batches:
        assert [source.source for source in batch.sources] == [name for name, quota in batch.quotas.items() if quota]
        for source in batch.sources:
            rows = source.targets["y"]
            assert source.rows == rows.shape[0]
            assert torch.equal(source.inputs["x"], torch.stack([rows, -rows], 1).float())
            assert source.inputs["image"].shape == (source.rows, 2, 3)
            assert torch.equal(source.inputs["image"][:, 1, 2], rows)
            assert torch.equal(source.weights, rows.double())
            named = [(source.source, row) for row in rows.tolist()]
            placed |= dict(zip(source.positions.tolist(), named, strict=True))
    assert [placed[place] for place in range(len(expected))] == expected


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_workers_get_the_rows_that_the_plan_names(data):
    sources = three_sources()
    plan = plan_of(sources, data.draw(st.integers(1, 100)), data.draw(st.integers(1, 5)))
    rows = data.draw(st.integers(1, 300))
    mixture = Mixture.constant({"large": 5, "small": 2, "tiny": 1}, rows, data.draw(st.sampled_from(["row", "step"])))
    mixture = mixture.extended(4, (1, 0, 3))
    size, start = data.draw(st.sampled_from([1, 2, 3, 8, 20])), data.draw(st.integers(0, 500))
    workers = [Loader(sources, plan, mixture, rank, size, start, horizon=start + 6) for rank in range(size)]
    for step in range(start, start + 6):
        batches = []
        for worker in workers:
            batches.append(next(worker))
            assert batches[-1].step == step
            assert batches[-1].quotas == dict(zip(mixture.sources, mixture.quotas(step), strict=True))
        assert_shares(batches, planned_rows(sources, plan, mixture, step))
    for worker in workers:
        worker.close()


@pytest.mark.parametrize("rows", [30, 300, 900])
@pytest.mark.parametrize("lanes", [1, 2])
def test_steps_that_span_passes(lanes, rows):
    sources = [memory_source("a", 260, 64, ((4, 4),)), memory_source("b", 100, 64, ((1, 36),))]
    plan, mixture = plan_of(sources, lanes), Mixture.constant({"a": 2, "b": 1}, rows)
    with Loader(sources, plan, mixture, horizon=40) as batches:
        for step, batch in enumerate(batches):
            assert_shares([batch], planned_rows(sources, plan, mixture, step))


def test_it_goes_on_where_another_stood_at_any_world_size():
    sources = three_sources()
    mixture = Mixture.constant({"large": 3, "small": 2, "tiny": 1}, 50).extended(7, (1, 1, 1))
    with loader(sources, mixture, horizon=12) as first:
        for _ in range(5):
            next(first)
        state = json.loads(json.dumps(first.state_dict()))
    assert state["step"] == 5
    workers = [loader(sources, Mixture.constant({"large": 1, "small": 1, "tiny": 1}, 50), r, 3) for r in range(3)]
    for worker in workers:
        worker.load_state_dict(state)
    for step, batches in zip(range(5, 12), zip(*workers, strict=True), strict=True):
        assert_shares(batches, planned_rows(sources, plan_of(sources), mixture, step))
    for worker in workers:
        worker.close()


def test_each_block_of_a_pass_is_read_about_once():
    source = memory_source("s", 64 * 64, 64)
    with loader([source], Mixture.constant({"s": 1}, 64), horizon=64) as batches:
        assert sum(batch.sources[0].rows for batch in batches) == 64 * 64
    assert set(source.split.reads.values()) == {1}


def test_a_worker_reads_no_window_of_others(small_sources):
    if small_sources == "whole":
        return  # it reads everything
    mixture = Mixture.constant({"s": 1}, 400)
    for rank in range(0, 20, 3):
        source = memory_source("s", 64 * 64, 16)
        plan = plan_of([source], lanes=2, window_blocks=1)
        drawn = set()
        for step in range(6):
            for _, lane, first, rows, _ in plan.segments(mixture, step, rank, 20):
                drawn |= set(plan.locate(0, lane, np.arange(first, first + rows))[0].tolist())
        with Loader([source], plan, mixture, rank, 20, horizon=6) as batches:
            assert [batch.step for batch in batches] == list(range(6))
        assert set(source.split.reads) <= drawn | {0}  # the first block shows the shapes


def test_a_small_source_is_read_once_for_many_passes():
    source = memory_source("s", 100, 128)
    with loader([source], Mixture.constant({"s": 1}, 1000), horizon=50) as batches:
        for batch in batches:
            assert batch.sources[0].rows == 1000
    assert source.split.reads == {0: 1}


def test_exhausted_windows_are_dropped():
    source = memory_source("s", 64 * 256, 64)
    with loader([source], Mixture.constant({"s": 1}, 64), horizon=1024) as batches:
        most = 0
        for _ in batches:
            lanes = list(batches._worker.assembler.feeds.of(0)._open)
            most = max(most, len(lanes))
    assert most <= 4 * 13  # four lanes; 128 steps ahead are up to twelve windows of a lane


def test_it_ends_at_the_horizon_and_goes_on_once_extended():
    sources = three_sources()
    mixture = Mixture.constant({"large": 3, "small": 2, "tiny": 1}, 50)
    with loader(sources, mixture, horizon=3) as batches:
        assert [batch.step for batch in batches] == [0, 1, 2]
        extended = mixture.extended(3, (0, 1, 0))
        batches.extend(extended, 5)
        for step in (3, 4):
            assert_shares([next(batches)], planned_rows(sources, plan_of(sources), extended, step))
        assert next(batches, None) is None


def test_an_adaptive_mixture_never_waits_for_the_loader():
    # A decision at step s takes effect at s + 3; the loader runs ahead to there at most.
    sources = three_sources()
    mixture = Mixture.constant({"large": 1, "small": 1, "tiny": 1}, 40)
    with loader(sources, mixture, horizon=3) as batches:
        for step in range(30):
            mixture = mixture.extended(step + 3, (step % 5, 1, step % 2))
            batches.extend(mixture, step + 4)
            assert_shares([next(batches)], planned_rows(sources, plan_of(sources), mixture, step))


def test_the_planned_past_cannot_change():
    mixture = Mixture.constant({"large": 3, "small": 2, "tiny": 1}, 50)
    with loader(three_sources(), mixture, horizon=8) as batches:
        with pytest.raises(InputError, match="steps before 8 cannot change"):
            batches.extend(mixture.extended(7, (1, 1, 1)), 10)
        with pytest.raises(InputError, match="steps before 8 cannot change"):
            batches.extend(mixture, 7)
    with pytest.raises(InputError, match="without a horizon"):
        loader(three_sources(), mixture).extend(mixture, 10)


def test_an_error_reaches_the_consumer_with_its_own_traceback():
    source = memory_source("s", 64 * 16, 64)
    source.split.broken = {block: OSError(f"block {block} is gone") for block in range(16)}
    with loader([source], Mixture.constant({"s": 1}, 8)) as batches:
        with pytest.raises(OSError, match="is gone") as caught:
            next(batches)
        assert "read_block" in "".join(traceback.format_tb(caught.value.__traceback__))
        with pytest.raises(OSError, match="is gone"):
            next(batches)


def test_batches_before_an_error_are_delivered(small_sources):
    if small_sources == "whole":
        return  # its first batch needs every block
    source = memory_source("s", 64 * 16, 64)
    plan = plan_of([source], lanes=1, window_blocks=1)
    second = plan.window(0, 0, 64).blocks[0].block
    source.split.broken = {second: OSError("gone")}
    with Loader([source], plan, Mixture.constant({"s": 1}, 32)) as batches:
        assert [next(batches).step, next(batches).step] == [0, 1]
        with pytest.raises(OSError, match="gone"):
            next(batches)


@pytest.mark.parametrize(("prefetch_bytes", "ahead"), [(1, 2), (10 * 10 * 72, 11), (2**30, 65)])
def test_batches_wait_within_both_bounds(prefetch_bytes, ahead):
    # A row has 72 bytes; `ahead` counts the batch that is used.
    source = memory_source("s", 1000, 1024)
    with loader([source], Mixture.constant({"s": 1}, 10), prefetch_bytes=prefetch_bytes) as batches:
        next(batches)
        planned = []
        for _ in range(100):
            time.sleep(0.01)
            planned.append(batches._worker.prefetch._step)
            if len(planned) > 10 and planned[-1] == planned[-10]:
                break
        assert planned[-1] == ahead


def test_closing_ends_the_threads_even_while_they_read():
    before = set(threading.enumerate())
    source = memory_source("s", 64 * 64, 64)
    batches = loader([source], Mixture.constant({"s": 1}, 64), lanes=16)
    next(batches)
    source.split.gate.clear()
    threading.Timer(0.2, source.split.gate.set).start()
    for _ in range(3):
        next(batches)
    batches.close()
    batches.close()
    assert {t for t in threading.enumerate() if t.name.startswith("distmtl")} <= before
    assert next(batches).step == 4
    batches.close()


def test_a_forgotten_loader_ends_its_threads():
    batches = loader([memory_source("s", 64 * 64, 64)], Mixture.constant({"s": 1}, 64))
    next(batches)
    del batches
    gc.collect()
    for _ in range(200):
        if not any(t.name.startswith("distmtl") for t in threading.enumerate()):
            return
        time.sleep(0.01)
    pytest.fail("threads are left behind")


def test_more_workers_than_rows_get_empty_batches_of_the_right_shape():
    sources = three_sources()
    mixture = Mixture.constant({"large": 1, "small": 1, "tiny": 1}, 3)
    for rank in range(8):
        with loader(sources, mixture, rank, 8) as batches:
            for batch in itertools.islice(batches, 3):
                assert [source.source for source in batch.sources] == ["large", "small", "tiny"]
                for source in batch.sources:
                    assert source.inputs["x"].shape == (source.rows, 2)
                    assert source.inputs["image"].shape == (source.rows, 2, 3)
                    assert source.targets["y"].dtype == torch.int64


def test_sources_must_be_those_of_the_plan():
    sources = three_sources()
    with pytest.raises(InputError, match="in their order"):
        loader(sources, Mixture.constant({"small": 1, "large": 1, "tiny": 1}, 8))


@pytest.mark.gpu
def test_pinned_batches_are_page_locked():
    with loader(three_sources(), Mixture.constant({"large": 1, "small": 1, "tiny": 1}, 30), pin=True) as batches:
        for source in next(batches).sources:
            assert source.inputs["x"].is_pinned()
            assert source.targets["y"].is_pinned()
