"""What stands in for a block that cannot be read."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.data.blocks import LoaderSource
from distmtl.data.loader import Loader
from distmtl.data.mixture import Mixture
from distmtl.data.plan import Plan
from distmtl.data.quarantine import Quarantine, Quarantined, QuarantinedSplit
from distmtl.errors import CorruptBlockError, SourceError
from tests.data.memory import MemorySplit, NumberDecoder, layouts


def quarantine(*blocks: int, source: str = "s", seed: int = 0) -> Quarantine:
    made = Quarantine(seed, len(blocks))
    for block in blocks:
        made.add(Quarantined(0, source, block))
    return made


@settings(deadline=None)
@given(st.integers(1, 40), st.sets(st.integers(0, 39)), st.integers(0, 2**63 - 1))
def test_a_good_block_stands_in_for_each_bad_one_and_good_ones_stay(blocks: int, bad: set[int], seed: int) -> None:
    bad = {block for block in bad if block < blocks}
    made = quarantine(*sorted(bad), seed=seed)
    if len(bad) == blocks:
        with pytest.raises(CorruptBlockError, match="no block of split 'train' can be read"):
            made.stand_in("s", 0, blocks)
        return
    for block in range(blocks):
        found = made.stand_in("s", block, blocks)
        assert found == block if block not in bad else found not in bad
        assert made.stand_in("other", block, blocks) == block


def test_stand_ins_follow_from_the_list_alone() -> None:
    blocks = range(50)
    there, back = quarantine(7, 30, 8), quarantine(8, 7, 30)
    assert [there.stand_in("s", block, 50) for block in blocks] == [back.stand_in("s", block, 50) for block in blocks]
    loaded = Quarantine(0)
    loaded.load(json.loads(json.dumps(there.state())))
    assert loaded.entries == there.entries
    assert [loaded.stand_in("s", block, 50) for block in blocks] == [there.stand_in("s", block, 50) for block in blocks]
    assert quarantine(7, seed=1).stand_in("s", 7, 50) != quarantine(7, seed=2).stand_in("s", 7, 50)


def test_a_stand_in_that_turns_bad_is_replaced_and_the_others_stay() -> None:
    made = quarantine(3, 4)
    first, second = made.stand_in("s", 3, 100), made.stand_in("s", 4, 100)
    assert first != second
    made.add(Quarantined(9, "s", first))
    assert made.stand_in("s", 3, 100) not in {3, 4, first}
    assert made.stand_in("s", 4, 100) == second


def test_stand_ins_are_spread_over_the_split() -> None:
    assert len({quarantine(block).stand_in("s", block, 1000) for block in range(100)}) > 80


def rows_of(split: QuarantinedSplit, block: int) -> list[int]:
    return list(split.read_block(block, ["row"])["row"].to_pylist())


def test_rows_are_those_of_the_stand_in_repeated_or_cut_to_fit() -> None:
    split = MemorySplit(64 * 5 + 10, 64)  # block 5 has ten rows
    for block, other in ((5, 0), (0, 5)):
        good = quarantine(*(number for number in range(6) if number != other))
        rows = rows_of(QuarantinedSplit("s", split, good), block)
        start, size = split.starts[other], 64 if other == 0 else 10
        assert rows == [start + row % size for row in range(64 if block == 0 else 10)]


def test_a_block_that_cannot_be_read_is_reported_with_its_place() -> None:
    split = MemorySplit(64 * 5, 64)
    split.broken[2] = CorruptBlockError("block 2 is bad.", "/somewhere")
    read = QuarantinedSplit("shop", split, Quarantine(0, 1))
    with pytest.raises(CorruptBlockError, match=r"^source 'shop': /somewhere: block 2 is bad") as caught:
        read.read_block(2, ["row"])
    assert caught.value.place == ("shop", 2)
    split.broken[3] = SourceError("the source is gone.")
    with pytest.raises(SourceError, match=r"^the source is gone") as other:
        read.read_block(3, ["row"])
    assert not isinstance(other.value, CorruptBlockError)


@pytest.mark.parametrize("whole", [False, True])
def test_only_the_rows_of_the_bad_block_change(whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not whole:
        monkeypatch.setattr("distmtl.data.feed.is_kept_whole", lambda *_: False)
    split = MemorySplit(64 * 9 + 5, 64)
    made = quarantine(4)
    stand_in = made.stand_in("s", 4, split.blocks)
    sources = [[LoaderSource("s", part, NumberDecoder())] for part in (split, QuarantinedSplit("s", split, made))]
    mixture, places = Mixture.constant({"s": 1}, 50), range(20)
    loaders = [Loader(part, Plan(layouts(part), 4, 2, 0), mixture, horizon=len(places)) for part in sources]
    clean, other = (np.concatenate([batch.sources[0].targets["y"].numpy() for batch in loader]) for loader in loaders)
    for loader in loaders:
        loader.close()
    begin, end = split.starts[4], split.starts[5]
    size = split.starts[stand_in + 1] - split.starts[stand_in]
    bad = (clean >= begin) & (clean < end)
    assert bad.sum() > 64
    assert (other[~bad] == clean[~bad]).all()
    assert (other[bad] == split.starts[stand_in] + (clean[bad] - begin) % size).all()
