import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.data.mixture import Mixture
from distmtl.data.plan import Layout, Plan
from distmtl.data.sequence import BlockSequence

PATIENT = settings(deadline=None, max_examples=50)


@st.composite
def layouts(draw, name="s", max_blocks=40):
    """Sources of 1 to 10**6 rows, most of them with several short blocks, which may lie anywhere."""
    block_rows = 2 ** draw(st.integers(0, 14))
    blocks = draw(st.integers(1, min(max_blocks, max(1, 10**6 // block_rows))))
    short = {}
    if block_rows > 1:
        places = draw(st.sets(st.integers(0, blocks - 1), max_size=4))
        short = {place: draw(st.integers(1, block_rows - 1)) for place in places}
    rows = (blocks - len(short)) * block_rows + sum(short.values())
    return Layout(name, rows, block_rows, blocks, tuple(sorted(short.items())))


@st.composite
def plans(draw, max_blocks=40):
    sources = tuple(draw(layouts(f"s{i}", max_blocks)) for i in range(draw(st.integers(1, 4))))
    return Plan(sources, draw(st.integers(1, 20)), draw(st.integers(1, 6)), draw(st.integers(0, 2**62)))


@st.composite
def mixtures(draw, plan, rows):
    weights = st.lists(st.integers(0, 1000), min_size=len(plan.layouts), max_size=len(plan.layouts)).filter(any)
    names = [layout.name for layout in plan.layouts]
    mixture = Mixture.constant(
        dict(zip(names, draw(weights), strict=True)), draw(rows), draw(st.sampled_from(["row", "step"]))
    )
    for step in sorted(draw(st.sets(st.integers(1, 12), max_size=3))):
        mixture = mixture.extended(step, draw(weights))
    return mixture


def rows_of(plan, segments):
    """(source, block, row) of every row of some segments, in their order."""
    rows, windows = [], {}
    for segment in segments:
        draw, stop = segment.first, segment.first + segment.rows
        while draw < stop:
            window = windows.get((segment.source, segment.lane))
            if window is None or not window[0].first <= draw < window[0].stop:
                found = plan.window(segment.source, segment.lane, draw)
                held = [(found.source, r.block, row) for r in found.blocks for row in range(r.start, r.stop)]
                window = windows[segment.source, segment.lane] = found, [held[i] for i in found.order().tolist()]
            taken = min(stop, window[0].stop)
            rows += window[1][draw - window[0].first : taken - window[0].first]
            draw = taken
    return rows


def naive_list(plan, mixture, step):
    """(source, lane, draw of the lane) of the step's global list, from the definition."""
    listed = []
    for source, (first, last) in enumerate(zip(mixture.drawn(step), mixture.drawn(step + 1), strict=True)):
        rows, lanes = plan.layouts[source].rows, plan.lanes_of(source)
        draws = [(i // rows, i % rows % lanes, i % rows // lanes) for i in range(first, last)]
        lane_rows = [len(range(lane, rows, lanes)) for lane in range(lanes)]
        listed += [(source, lane, pass_ * lane_rows[lane] + draw) for pass_, lane, draw in sorted(draws)]
    return listed


@PATIENT
@given(st.data())
def test_workers_cut_one_list(data):
    plan = data.draw(plans())
    mixture = data.draw(mixtures(plan, st.integers(1, 3000)))
    step = data.draw(st.integers(0, 20) | st.integers(10**6, 10**6 + 20))
    expected = naive_list(plan, mixture, step)
    for size in {1, data.draw(st.integers(2, 64)), 64}:
        got, place = [], 0
        for rank in range(size):
            share = plan.segments(mixture, step, rank, size)
            assert sum(segment.rows for segment in share) == len(range(mixture.rows)[slice(*_cut(mixture, rank, size))])
            for segment in share:
                assert segment.place == place
                assert segment.rows > 0
                place += segment.rows
                got += [(segment.source, segment.lane, segment.first + i) for i in range(segment.rows)]
        assert got == expected


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_completed_passes_cover_each_row_once_and_nothing_repeats_in_a_pass(data):
    plan = data.draw(plans(max_blocks=24).filter(lambda plan: sum(s.rows for s in plan.layouts) <= 2000))
    total = sum(layout.rows for layout in plan.layouts)
    mixture = data.draw(mixtures(plan, st.integers(max(1, total // 8), max(2, total // 2))))
    size, steps = data.draw(st.integers(1, 64)), 8
    segments = [s for step in range(steps) for rank in range(size) for s in plan.segments(mixture, step, rank, size)]
    drawn = [[] for _ in plan.layouts]
    for source, block, row in rows_of(plan, segments):
        drawn[source].append((block, row))
    for layout, quota, rows in zip(plan.layouts, mixture.drawn(steps), drawn, strict=True):
        assert len(rows) == quota
        short = dict(layout.short_blocks)
        whole = [(b, r) for b in range(layout.blocks) for r in range(short.get(b, layout.block_rows))]
        # A step lists pass after pass, so the order within it does not matter to which pass a row belongs to.
        for first in range(0, len(rows), layout.rows):
            part = rows[first : first + layout.rows]
            assert len(set(part)) == len(part)
            if len(part) == layout.rows:
                assert sorted(part) == whole


@PATIENT
@given(st.data())
def test_windows_locate_what_the_plan_locates(data):
    plan = data.draw(plans())
    source = data.draw(st.integers(0, len(plan.layouts) - 1))
    lane = data.draw(st.integers(0, plan.lanes_of(source) - 1))
    lane_rows = len(range(lane, plan.layouts[source].rows, plan.lanes_of(source)))
    draw = data.draw(st.integers(0, 3 * lane_rows) | st.integers(10**12, 10**12 + lane_rows))
    for _ in range(3):
        window = plan.window(source, lane, draw)
        assert window.first <= draw < window.stop
        rows = np.concatenate([np.arange(r.start, r.stop) for r in window.blocks])
        blocks = np.concatenate([np.full(r.stop - r.start, r.block) for r in window.blocks])
        some = np.unique(np.linspace(0, window.stop - window.first - 1, num=50, dtype=np.int64))
        located = plan.locate(source, lane, window.first + some)
        order = window.order()[some]
        assert np.array_equal(located[0], blocks[order])
        assert np.array_equal(located[1], rows[order])
        assert window.rows == rows.size
        assert len(window.blocks) <= plan.window_blocks
        draw = window.stop


@PATIENT
@given(st.data())
def test_a_window_is_exhausted_exactly_at_its_end(data):
    plan = data.draw(plans(max_blocks=8).filter(lambda plan: plan.layouts[0].rows <= 2000))
    rows = plan.layouts[0].rows
    for lane in range(plan.lanes_of(0)):
        window = plan.window(0, lane, data.draw(st.integers(0, 3 * rows)))
        one_by_one = Mixture(tuple(s.name for s in plan.layouts), "row", 1, Mixture.constant(
            {s.name: int(i == 0) for i, s in enumerate(plan.layouts)}, 1).entries)  # fmt: skip
        (last,) = plan.segments(one_by_one, window.end - 1)
        assert (last.lane, last.first) == (lane, window.stop - 1)


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_a_tiny_source_has_many_passes_in_a_step(rows):
    plan = Plan((Layout("tiny", rows, 1024, 1, ((0, rows),)),), 16, 4, 0)
    mixture = Mixture.constant({"tiny": 1}, 1024)
    listed = rows_of(plan, plan.segments(mixture, 7))
    assert len(listed) == 1024
    start = -7 * 1024 % rows
    for first in range(start, 1024 - rows + 1, rows):
        assert sorted(listed[first : first + rows]) == [(0, 0, r) for r in range(rows)]


def test_lanes_turn_over_in_different_steps():
    plan = Plan((Layout("s", 64 * 16 * 8, 64, 16 * 8),), 16, 4, 0)
    stops = [plan.window(0, lane, 0).stop for lane in range(16)]
    assert stops == [64 * (1 + (lane - 1) % 4) for lane in range(16)]


def test_shuffling_differs_by_seed_source_pass_and_lane():
    def order(seed=0, name="s", draw=0, lane=0):
        plan = Plan((Layout(name, 64 * 16, 64, 16),), 4, 4, seed)
        return tuple(plan.locate(0, lane, np.arange(draw, draw + 256))[1].tolist())

    assert len({order(), order(seed=1), order(name="t"), order(draw=256), order(lane=1)}) == 5


def test_one_lane_of_one_block_is_shuffled_as_a_whole():
    plan = Plan((Layout("s", 1000, 1024, 1, ((0, 1000),)),), 16, 4, 0)
    rows = plan.locate(0, 0, np.arange(1000))[1]
    assert abs(np.corrcoef(rows, np.arange(1000))[0, 1]) < 0.1


@PATIENT
@given(layouts())
def test_a_block_sequence_finds_every_row(layout):
    short = dict(layout.short_blocks)
    sizes = np.array([short.get(block, layout.block_rows) for block in range(layout.blocks)])
    sequence = BlockSequence(layout.block_rows, layout.short_blocks)
    starts = np.concatenate(([0], np.cumsum(sizes)))
    assert np.array_equal(sequence.start(np.arange(layout.blocks + 1)), starts)
    offsets = np.unique(np.clip(np.concatenate([starts - 1, starts, starts + 1]), 0, layout.rows - 1))
    places, rows = sequence.find(offsets)
    assert np.array_equal(places, np.searchsorted(starts, offsets, side="right") - 1)
    assert np.array_equal(rows, offsets - starts[places])


def test_a_layout_must_add_up():
    with pytest.raises(ValueError, match="'s' do not add up to 100"):
        Layout("s", 100, 64, 2)


def test_the_plan_never_changes():
    # Resumed runs depend on these numbers: a change of them is a change of every plan.
    plan = Plan((Layout("s", 500, 64, 8, ((3, 52),)),), 3, 2, 0)
    assert [(block, row) for _, block, row in rows_of(plan, plan.segments(Mixture.constant({"s": 1}, 12), 5))] == [
        (5, 38), (5, 2), (5, 49), (7, 52), (0, 40), (0, 63), (0, 50), (0, 53), (2, 42), (6, 50), (2, 53), (6, 20),
    ]  # fmt: skip


def _cut(mixture, rank, size):
    return rank * mixture.rows // size, (rank + 1) * mixture.rows // size
