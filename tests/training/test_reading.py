"""All workers do without the same blocks, from the same step on."""

from collections.abc import Sequence
from typing import Any

import pytest

from distmtl.data.blocks import LoaderSource
from distmtl.data.loader import Loader
from distmtl.data.mixture import Mixture
from distmtl.data.plan import Plan
from distmtl.data.quarantine import Quarantine, QuarantinedSplit
from distmtl.errors import CorruptBlockError
from distmtl.parallel.world import Solo, World
from distmtl.training.reading import Reader
from tests.data.memory import MemorySplit, NumberDecoder, layouts
from tests.processes import run_workers

BLOCKS, ROWS, STEPS = 24, 64, 30
BAD = (0, 3, 11, 17)


def reader(world: World, bad: Sequence[int], quarantine: Quarantine, said: list[str], start: int = 0) -> Reader:
    split = MemorySplit(BLOCKS * ROWS, ROWS)
    split.broken = {block: CorruptBlockError(f"block {block} is bad.", "/s") for block in bad}
    sources = [LoaderSource("s", QuarantinedSplit("s", split, quarantine), NumberDecoder())]
    plan, mixture = Plan(layouts(sources), 4, 1, 0), Mixture.constant({"s": 1}, ROWS)
    return Reader(
        Loader(sources, plan, mixture, world.rank, world.size, start, horizon=STEPS), quarantine, world, said.append
    )


def read(world: World, bad: Sequence[int], most: int, group: int) -> Any:
    """What the loop does with the reader: the rows by step, the quarantine, and what was said."""
    import torch

    import distmtl.data.feed

    distmtl.data.feed.is_kept_whole = lambda *_: False
    quarantine, said = Quarantine(0, most), []  # type: ignore[var-annotated]
    batches = reader(world, bad, quarantine, said)
    rows: dict[int, list[int]] = {}
    step = 0
    while step < STEPS:
        taken = batches.take(min(group, STEPS - step))
        if world.sum(torch.tensor(float(len(taken) < min(group, STEPS - step)))) > 0:
            batches.do_without(step)
            continue
        for batch in taken:
            assert batch.step == step
            rows[step] = batch.sources[0].targets["y"].tolist()
            step += 1
    assert batches.quarantined(0) == 0
    assert batches.quarantined(STEPS) == len(quarantine.entries)
    batches._loader.close()
    return rows, quarantine.entries, said


@pytest.fixture(autouse=True)
def _windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distmtl.data.feed.is_kept_whole", lambda *_: False)


@pytest.mark.parametrize("group", [1, 4])
def test_alone(group: int) -> None:
    clean, none, silence = read(Solo(), (), 0, group)
    assert (none, silence) == ((), [])
    rows, entries, said = read(Solo(), (3, 17), 2, group)
    assert {entry.block for entry in entries} == {3, 17}
    assert len(said) == 2
    assert said[0].startswith(f"from step {entries[0].first_step} on the run does without a block (1 of at most 2)")
    assert f"block {entries[0].block} is bad" in said[0]
    for step in range(STEPS):
        for was, now in zip(clean[step], rows[step], strict=True):
            bad = was // ROWS in {entry.block for entry in entries if entry.first_step <= step}
            assert now // ROWS not in {3, 17}
            assert now == was or bad
    assert rows != clean


@pytest.mark.dist
@pytest.mark.parametrize(("size", "group"), [(1, 4), (2, 4), (3, 7)])
def test_the_list_and_the_rows_do_not_depend_on_workers_or_on_groups_of_steps(size: int, group: int) -> None:
    expected, entries, _ = read(Solo(), BAD, len(BAD), 1)
    assert {entry.block for entry in entries} == set(BAD)
    assert len({entry.first_step for entry in entries}) > 1
    found = run_workers(read, size, BAD, len(BAD), group)
    for _, other, words in found:
        assert sorted(other) == sorted(entries)
        assert words == found[0][2]
    for step in range(STEPS):
        assert [row for rows, _, _ in found for row in rows[step]] == expected[step]


def test_who_knows_a_part_of_the_list_goes_on_as_if_undisturbed() -> None:
    expected, entries, _ = read(Solo(), BAD, len(BAD), 4)
    steps = sorted({entry.first_step for entry in entries})
    for start in (0, steps[0] + 1, steps[-1], steps[-1] + 1):
        quarantine, said = Quarantine(0, len(BAD)), []  # type: ignore[var-annotated]
        quarantine.load([list(entry) for entry in entries if entry.first_step < start])
        batches = reader(Solo(), BAD, quarantine, said, start)
        step = start
        while step < STEPS:
            taken = batches.take(min(3, STEPS - step))
            if len(taken) < min(3, STEPS - step):
                batches.do_without(step)
                continue
            for batch in taken:
                assert batch.sources[0].targets["y"].tolist() == expected[batch.step]
            step += len(taken)
        assert sorted(quarantine.entries) == sorted(entries)
        batches._loader.close()


def _overfill(world: World) -> str:
    try:
        read(world, (3, 11, 17), 2, 4)
    except CorruptBlockError as error:
        return str(error)
    return ""


@pytest.mark.dist
def test_beyond_the_limit_all_workers_raise_the_same_error() -> None:
    first, second = run_workers(_overfill, 2)
    assert first == second
    assert "train.quarantine.max_blocks (2) is used up" in first
    assert first.startswith("source 's': /s: block ")


def test_without_a_quarantine_the_error_passes_through() -> None:
    with pytest.raises(CorruptBlockError, match="block 3 is bad") as caught:
        read(Solo(), (3,), 0, 4)
    assert "used up" not in str(caught.value)


def test_a_resident_source_does_without_blocks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distmtl.data.feed.is_kept_whole", lambda *_: True)
    quarantine, said = Quarantine(0, 5), []  # type: ignore[var-annotated]
    batches = reader(Solo(), (0, 5, 9), quarantine, said)
    for _ in range(3):  # one block after the other
        assert batches.take(2) == []
        batches.do_without(0)
    assert [batch.step for batch in batches.take(2)] == [0, 1]
    assert sorted(entry.block for entry in quarantine.entries) == [0, 5, 9]
    batches._loader.close()
