"""The law of transforms: a row's inputs follow from (seed, source, pass, row), whoever makes them and beside whom."""

import itertools

import numpy as np
import pytest
import torch

from distmtl.data.loader import Loader
from distmtl.data.mixture import Mixture
from distmtl.data.plan import Plan
from distmtl.data.sweep import sweep
from distmtl.data.transforms.keys import row_keys
from distmtl.data.transforms.rows import Rows
from distmtl.errors import SourceError
from distmtl.features import InputGroup, TensorColumn
from tests.data.memory import layouts, memory_source
from tests.data.transforms.memory import custom, images, numbers, texts, transformed_source

SEED = 5
WHOLE_IMAGE = (InputGroup("image", "tensor", (TensorColumn("image", "int32", (1, 4, 5)),)),)
ROWS = {"large": 700, "small": 100, "tiny": 3}
MIXTURE = Mixture.constant({"large": 5, "small": 2, "tiny": 1, "plain": 1}, 45)


@pytest.fixture(params=["windows", "whole"])
def small_sources(request, monkeypatch):
    if request.param == "windows":
        monkeypatch.setattr("distmtl.data.feed.is_kept_whole", lambda *_: False)


def sources():
    return [
        transformed_source("large", ROWS["large"], 32, short_blocks=((7, 20),)),
        transformed_source("small", ROWS["small"], 128),
        transformed_source("tiny", ROWS["tiny"], 16),
        memory_source("plain", 50, 16),
    ]


def loader(rank=0, size=1, start=0, *, lanes=4, workers=0, seed=SEED, made=None):
    made = made or sources()
    plan = Plan(layouts(made), lanes, 2, seed)
    return Loader(made, plan, MIXTURE, rank, size, start, transform_workers=workers)


def rows_of(batch):
    """By place in the step's list: source, row number, and the row's inputs with their padding cut off."""
    found = {}
    for part in batch.sources:
        for i, (place, row) in enumerate(zip(part.positions.tolist(), part.targets["y"].tolist(), strict=True)):
            if part.source != "plain":
                inputs = {name: value[i].tolist() for name, value in part.inputs.items()}
                for name, length in (("tokens", (row % 3) * (1 + len(str(row))) * (row % 7 > 0)), ("list", row % 5)):
                    assert not any(inputs[name][length:])
                    inputs[name] = inputs[name][: min(length, 6)]
                found[place] = (part.source, row, inputs)
    return found


def expected(source, row, pass_):
    """The row's inputs, made alone."""
    numbers_ = np.array([row])
    columns = {"image": images(numbers_), "text": texts(numbers_), "list": numbers(numbers_)}
    made = Rows(transformed_source(source, ROWS[source], 32).transform.recipe)
    keys = row_keys(SEED, source, np.array([pass_]), numbers_)
    groups = made(columns, keys, 1)
    length = min(6, (row % 3) * (1 + len(str(row))) * (row % 7 > 0))
    return {
        "image": groups["image"][0].tolist(),
        "tokens": groups["tokens"][0].tolist()[:length],
        "list": groups["list"][0].tolist()[: row % 5],
    }


@pytest.fixture(scope="module")
def steps():
    """What every run must see: the steps of one worker, each row made alone from its pass."""
    with loader() as batches:
        found = [rows_of(batch) for batch in itertools.islice(batches, 12)]
    drawn = dict.fromkeys(ROWS, 0)
    for step in found:
        for place in sorted(step):
            source, row, inputs = step[place]
            assert inputs == expected(source, row, drawn[source] // ROWS[source])
            drawn[source] += 1
    assert drawn["tiny"] > 3 * ROWS["tiny"]
    assert drawn["small"] > ROWS["small"]
    return found


@pytest.mark.usefixtures("small_sources")
@pytest.mark.parametrize("size", [1, 2, 3, 46])
@pytest.mark.parametrize("start", [0, 7])
def test_workers_together_see_the_same_rows(steps, size, start):
    together = [{} for _ in range(start, 12)]
    for rank in range(size):
        with loader(rank, size, start) as batches:
            for step, batch in enumerate(itertools.islice(batches, 12 - start)):
                together[step] |= rows_of(batch)
                for part in batch.sources:
                    for name in set(part.inputs) & {"tokens", "list"}:
                        assert part.inputs[name].dtype == torch.int64
                        assert part.inputs[name].shape[1] >= 1
    assert together == steps[start:]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(("size", "start"), [(1, 0), (2, 5)])
def test_processes_change_nothing(steps, workers, size, start):
    together = [{} for _ in range(start, 12)]
    for rank in range(size):
        with loader(rank, size, start, workers=workers) as batches:
            for step, batch in enumerate(itertools.islice(batches, 12 - start)):
                together[step] |= rows_of(batch)
    assert together == steps[start:]


@pytest.mark.usefixtures("small_sources")
@pytest.mark.parametrize("lanes", [1, 3, 64])
def test_lanes_change_the_order_alone(lanes):
    made = [transformed_source("large", ROWS["large"], 32, short_blocks=((7, 20),))]
    plan = Plan(layouts(made), lanes, 2, SEED)
    with Loader(made, plan, Mixture.constant({"large": 1}, 70), horizon=20) as batches:
        seen = [rows_of(batch) for batch in batches]
    passes = []
    for pass_ in (0, 1):
        rows = [row for step in seen[10 * pass_ : 10 * pass_ + 10] for row in step.values()]
        assert sorted(row for _, row, _ in rows) == list(range(ROWS["large"]))
        assert all(inputs == expected("large", row, pass_) for _, row, inputs in rows[::50])
        passes.append({row: inputs["image"] for _, row, inputs in rows})
    assert 0.7 < np.mean([passes[0][row] != passes[1][row] for row in passes[0]]) < 1.0  # 12 images, each in 12 forms


def test_another_seed_draws_otherwise():
    with loader() as one, loader(seed=SEED + 1) as other:
        first, second = rows_of(next(one)), rows_of(next(other))
    tiny = [{row: inputs for source, row, inputs in step.values() if source == "tiny"} for step in (first, second)]
    assert tiny[0].keys() == tiny[1].keys()
    assert tiny[0] != tiny[1]


def test_evaluation_takes_the_middle():
    source = transformed_source("large", ROWS["large"], 32)
    for size in (1, 3):
        parts = [part for rank in range(size) for part in sweep(source, rank, size, 50)]
        rows = torch.cat([part.targets["y"] for part in parts]).numpy()
        assert rows.tolist() == list(range(ROWS["large"]))
        found = np.concatenate([part.inputs["image"].numpy() for part in parts])
        np.testing.assert_array_equal(found, images(rows)[:, :, 0:3, 1:4])


@pytest.mark.usefixtures("small_sources")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_row_that_fails_is_named(workers):
    # Row 441 is row 5 of block 14: blocks have 32 rows, save block 7 with 20.
    failing = custom("FailsOn", row=441)
    source = transformed_source("large", ROWS["large"], 32, (failing,), WHOLE_IMAGE, ((7, 20),))
    plan, mixture = Plan(layouts([source]), 4, 2, SEED), Mixture.constant({"large": 1}, 70)
    batches = Loader([source], plan, mixture, transform_workers=workers)
    with batches, pytest.raises(SourceError) as caught:
        list(itertools.islice(batches, 10))
    assert str(caught.value).startswith(
        "mem://large: split 'train', block 14, row 5: transform 0 "
        "('tests.data.transforms.custom:FailsOn') of source 'large' failed: ValueError: cannot bear 441 ("
    )
    assert "custom.py:" in str(caught.value)


def test_a_row_that_fails_in_evaluation_is_named():
    source = transformed_source("s", 100, 32, (custom("FailsOn", row=40),), WHOLE_IMAGE)
    with pytest.raises(SourceError, match=r"block 1, row 8: transform 0 .* cannot bear 40"):
        list(sweep(source, 0, 1, 64))


def test_rows_that_fail_together_are_said_to():
    source = transformed_source("s", 100, 32, (custom("FailsOnCrowds"),), WHOLE_IMAGE)
    with pytest.raises(SourceError, match=r"one of the rows 0 to 63: transform 0 .*RuntimeError: too many"):
        list(sweep(source, 0, 1, 64))


def test_batches_before_a_failing_row_are_delivered():
    source = transformed_source("s", 640, 64, (custom("FailsOn", row=100),), WHOLE_IMAGE)
    plan = Plan(layouts([source]), 1, 1, SEED)
    for workers in (0, 2):
        blocks, rows = plan.locate(0, 0, np.arange(640))
        before = int(np.flatnonzero(64 * blocks + rows == 100)[0]) // 32
        with Loader([source], plan, Mixture.constant({"s": 1}, 32), transform_workers=workers) as batches:
            assert [next(batches).step for _ in range(before)] == list(range(before))
            for _ in range(2):
                with pytest.raises(SourceError, match="cannot bear 100"):
                    next(batches)
